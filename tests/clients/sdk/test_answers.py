"""An answer holds what the server says about it, with types."""

from typing import Any

import pytest

from clients.sdk.answers import answer_of
from clients.sdk.client import AsyncClient, Client
from clients.sdk.completions import Completion
from clients.sdk.errors import ClientError
from tests.clients.chat_server import Reply, chat_server, completion, scaling

REPORT = {
    **scaling(("8", 0.25), ("3 + 4 = 7\n\n7", 0.75), selected=1),
    "votes": [{"answer": "7", "candidates": [1], "score": 0.75}],
    "degraded": "candidate 2 has no score",
}
SEEN = {"v2pe_delta": 0.25, "highest_position": 80.5, "tiles": 5, "frames": 0}
USED = {
    "prompt_tokens": 20,
    "completion_tokens": 6,
    "total_tokens": 26,
    "prompt_tokens_details": {"cached_tokens": 12},
}


async def test_both_clients_give_the_same_typed_answer() -> None:
    reply = completion("7", test_time_scaling=REPORT, vision=SEEN, usage=USED)
    with chat_server(lambda body: Reply(reply)) as url:
        with Client(url) as client:
            answer = client.ask("q", best_of=2)
        async with AsyncClient(url) as async_client:
            assert await async_client.ask("q", best_of=2) == answer
    assert str(answer) == answer.text == "7"
    assert [candidate.score for candidate in answer.candidates] == [0.25, 0.75]
    assert answer.selected is not None and answer.selected.steps == ["3 + 4 = 7", "7"]
    assert answer.step_scores == [0.75, 0.75]
    assert (answer.votes[0].answer, answer.votes[0].candidates) == ("7", [1])
    assert answer.degraded == "candidate 2 has no score"
    assert answer.vision is not None
    assert (answer.vision.v2pe_delta, answer.vision.tiles, answer.vision.frames) == (0.25, 5, 0)
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    assert (answer.usage.total_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (26, 12)


def test_several_choices_and_tool_calls() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    first = {"role": "assistant", "content": None, "tool_calls": [call]}
    second = {"role": "assistant", "content": "no"}
    choices = [
        {"index": index, "message": message, "finish_reason": "stop"}
        for index, message in enumerate((first, second))
    ]
    answer = answer_of(Completion.model_validate({"choices": choices}))
    assert (answer.text, answer.texts) == ("", ["", "no"])
    assert [one.function.name for one in answer.tool_calls] == ["add"]


def test_boxes_are_read_from_the_text() -> None:
    answer = answer_of(Completion.model_validate(completion("<ref>OK</ref><box>[[1, 2, 3, 4]]</box>")))
    assert [(box.label, box.right) for box in answer.boxes] == [("OK", 3)]


def test_a_reply_without_choices_is_an_empty_answer() -> None:
    answer = answer_of(Completion.model_validate({"choices": []}))
    assert (answer.text, answer.texts, answer.finish_reason, answer.tool_calls) == ("", [], None, [])


@pytest.mark.parametrize(
    "reply",
    [
        completion("7", usage={"prompt_tokens": "many"}),
        completion("7", vision={"tiles": []}),
        completion("7", test_time_scaling={"selected": 0}),
        {"choices": [{"index": 0, "message": "7"}]},
        {"choices": None},
        {},
    ],
)
def test_a_reply_of_another_shape_is_an_error_of_the_clients(reply: dict[str, Any]) -> None:
    with (
        chat_server(lambda body: Reply(reply)) as url,
        Client(url) as client,
        pytest.raises(ClientError, match="no chat completion"),
    ):
        client.ask("q")
