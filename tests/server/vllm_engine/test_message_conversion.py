"""What vLLM's converters of Messages requests must not see, and what they would fail at."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages

from server.errors import ApiError
from server.vllm_engine.message_conversion import MessageConversion


class Converters(AnthropicServingMessages):
    """vLLM's handler without an engine: only its converters are used."""

    def __init__(self) -> None:
        self._merge_inline_system = True


def converted(*, counts_tokens: bool = False, **fields: Any) -> MessageConversion:
    body = {
        "model": "nano",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "Who?"}],
        "request_id": "r1",
    }
    return MessageConversion(Converters(), {**body, **fields}, counts_tokens=counts_tokens)


def test_a_conversation_is_a_chat_request():
    content = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "text", "text": "What is it?"},
    ]
    schema = {"type": "object"}
    body = converted(
        system="Be brief.",
        messages=[{"role": "user", "content": content}],
        stop_sequences=["x"],
        tools=[{"name": "f", "input_schema": schema}],
        tool_choice={"type": "tool", "name": "f"},
        output_config={"format": {"type": "json_schema", "schema": schema}},
        v2pe_delta=0.25,
    ).chat_body
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["image_url"]["url"] for part in user["content"][:2]] == [
        "data:image/png;base64,AAAA",
        "https://example.org/a.png",
    ]
    assert (body["max_tokens"], body["stop"], body["v2pe_delta"], body["request_id"]) == (
        5,
        ["x"],
        0.25,
        "r1",
    )
    assert body["tools"][0]["function"]["parameters"] == schema
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x"}, {}]}, "messages[1]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages[0].content[0].text",
        ),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": 5}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(field: dict[str, Any], param: str):
    with pytest.raises(ApiError) as refused:
        converted(**field)
    assert refused.value.status == 400 and (refused.value.param or "").startswith(param)


def test_a_removed_tool_that_is_not_there_is_refused():
    removal = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "gone"}}
    with pytest.raises(ApiError, match="gone") as refused:
        converted(messages=[{"role": "system", "content": [removal]}, {"role": "user", "content": "?"}])
    assert refused.value.param == "messages"


def test_counting_needs_no_max_tokens():
    body = {"model": "nano", "messages": [{"role": "user", "content": "Who?"}], "request_id": "r1"}
    conversion = MessageConversion(Converters(), body, counts_tokens=True)
    assert conversion.chat_body["messages"] == [{"role": "user", "content": "Who?"}]


@pytest.mark.parametrize(("arguments", "read"), [('{"a": 1}', {"a": 1}), ('{"a": ', {}), ("[1]", {})])
def test_a_call_that_max_tokens_has_cut_off_is_no_failure(arguments: str, read: dict[str, Any]):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reply = converted().reply(
        {
            "id": "chatcmpl-r1",
            "model": "nano",
            "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            "vision": {"tiles": 1},
        }
    )
    assert reply["content"] == [{"type": "tool_use", "id": "c1", "name": "f", "input": read}]
    assert (reply["stop_reason"], reply["stop_sequence"], reply["vision"]) == (
        "max_tokens",
        None,
        {"tiles": 1},
    )


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **fields: Any) -> str:
    body = {
        "id": "chatcmpl-r1",
        "created": 1,
        "model": "nano",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        **fields,
    }
    return f"data: {json.dumps(body)}\n\n"


async def events_of(*chunks: str, failure: ApiError | None = None) -> list[dict[str, Any]]:
    async def stream() -> AsyncGenerator[str, None]:
        for each in chunks:
            yield each
        if failure is not None:
            raise failure

    named = [event.split("\ndata: ") async for event in converted(stream=True).events(stream())]
    bodies = [json.loads(data) for _, data in named]
    assert [name for name, _ in named] == [f"event: {body['type']}" for body in bodies]
    return bodies


async def test_comments_reach_no_converter():
    events = await events_of(
        ": still working\n\n",
        chunk({"role": "assistant", "content": ""}, vision={"tiles": 1}),
        chunk({"content": "yes"}),
        ": candidate 1/2\n\n",
        chunk({}, "stop"),
        chunk({}, choices=[]),
        "data: [DONE]\n\n",
    )
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["vision"] == {"tiles": 1} and events[2]["delta"]["text"] == "yes"


async def test_an_error_is_the_last_event_whether_it_comes_as_one_or_is_raised():
    error = {"message": "Lower n.", "type": "server_error", "param": None, "code": "x"}
    as_event = await events_of(chunk({"content": ""}), f"data: {json.dumps({'error': error})}\n\n")
    raised = await events_of(chunk({"content": ""}), failure=ApiError("Lower n.", status=503))
    assert as_event[-1]["error"] == {"type": "api_error", "message": "Lower n."}
    assert raised[-1]["error"] == {"type": "overloaded_error", "message": "Lower n."}
    assert [event["type"] for event in raised] == ["message_start", "error"]
