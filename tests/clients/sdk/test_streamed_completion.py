"""The chunks of a stream add up to the reply that would have come without streaming."""

from typing import Any

from clients.sdk.completions import Completion
from clients.sdk.event_stream import Chunk, Comment, events
from clients.sdk.streamed_completion import StreamedCompletion
from tests.clients.chat_server import completion, event_stream, scaling


def piece(index: int, finish_reason: str | None = None, **delta: Any) -> Chunk:
    return Chunk({"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]})


def summed(*chunks: Chunk) -> Completion:
    answer = StreamedCompletion()
    for chunk in chunks:
        answer.add(chunk)
    return answer.completion()


def test_text_and_further_fields_are_those_of_the_reply() -> None:
    reply = completion("3 + 4 = 7.\n\nFinal answer: 7", test_time_scaling=scaling(("7", 0.9), selected=0))
    stream = event_stream(reply, comments=("candidate 1/1 finished",)).body
    assert isinstance(stream, str)
    first, *chunks = events(stream.splitlines())
    assert first == Comment("candidate 1/1 finished")
    answer = StreamedCompletion()
    pieces = [answer.add(chunk) for chunk in chunks if isinstance(chunk, Chunk)]
    expected = Completion.model_validate(reply)
    assert "".join(pieces) == expected.text
    assert len([text for text in pieces if text]) > 1
    assert answer.completion() == expected


def test_several_choices_are_kept_apart() -> None:
    total = summed(
        piece(1, content="no"),
        piece(0, content="y"),
        piece(0, content="es", finish_reason="stop"),
        piece(1, finish_reason="length"),
    )
    assert [(choice.message.content, choice.finish_reason) for choice in total.choices] == [
        ("yes", "stop"),
        ("no", "length"),
    ]
    assert total.text == "yes"


def test_the_pieces_of_tool_calls_are_joined() -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return {"index": index, **fields}

    first = call(0, id="call-1", type="function", function={"name": "add", "arguments": ""})
    total = summed(
        piece(0, role="assistant", content=None),
        piece(0, tool_calls=[first]),
        piece(0, tool_calls=[call(0, function={"arguments": '{"a":'})]),
        piece(0, tool_calls=[call(1, id="call-2", function={"name": "stop", "arguments": "{}"})]),
        piece(0, tool_calls=[call(0, function={"arguments": " 1}"})], finish_reason="tool_calls"),
    )
    message = total.choices[0].message
    assert message.content is None and message.tool_calls is not None
    assert [(one.id, one.function.name, one.function.arguments) for one in message.tool_calls] == [
        ("call-1", "add", '{"a": 1}'),
        ("call-2", "stop", "{}"),
    ]


def test_reasoning_and_logprobs_are_joined() -> None:
    chunks = [piece(0, reasoning_content="be"), piece(0, reasoning_content="cause", finish_reason="stop")]
    chunks[0].body["choices"][0]["logprobs"] = {"content": [{"token": "a"}]}
    chunks[1].body["choices"][0]["logprobs"] = {"content": [{"token": "b"}]}
    (choice,) = summed(*chunks).model_dump()["choices"]
    assert choice["message"]["reasoning_content"] == "because"
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_an_empty_stream_is_an_empty_answer() -> None:
    assert summed().text == ""
