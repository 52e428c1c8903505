"""A Responses request becomes a chat request, and the chat reply a response that OpenAI's client reads."""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from openai.types.responses import Response

from server.errors import ApiError
from server.protocol.response_fields import RULES
from server.vllm_engine.responses.conversion import ResponseConversion

FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 2},
}


LAST_CHUNK = {"model": "nano", "choices": [], "usage": USAGE, "test_time_scaling": {"n": 2}}


def converted(**fields: Any) -> ResponseConversion:
    body = {"model": "nano", "input": "Who?", "request_id": "r1", **fields}
    return ResponseConversion(body, sampling={"temperature": 0.5}, most_tokens=100)


def chat_reply(finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return {"model": "nano", "choices": [choice], "usage": USAGE}


def test_fields_are_those_of_a_chat_request():
    body = converted(
        instructions="Be brief.",
        max_output_tokens=7,
        temperature=0.25,
        reasoning={"effort": "low"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
        include=["message.output_text.logprobs"],
        top_logprobs=3,
        truncation="auto",
        stream=True,
        store=True,
        metadata={"a": "b"},
        best_of=4,
        v2pe_delta=0.25,
        seed=5,
    ).chat_body
    assert [message["role"] for message in body.pop("messages")] == ["system", "user"]
    assert body == {
        "model": "nano",
        "request_id": "r1",
        "max_completion_tokens": 7,
        "temperature": 0.25,
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "logprobs": True,
        "top_logprobs": 3,
        "truncate_prompt_tokens": -1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "best_of": 4,
        "v2pe_delta": 0.25,
        "seed": 5,
    }


@pytest.mark.parametrize(
    ("choice", "chat_choice"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("none", "none"),
        ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tools_are_functions(choice: Any, chat_choice: Any):
    body = converted(tools=[FUNCTION], tool_choice=choice).chat_body
    assert body["tool_choice"] == chat_choice
    (tool,) = body["tools"]
    assert tool["type"] == "function" and tool["function"]["name"] == "weather"
    assert tool["function"]["parameters"] == {"type": "object"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "web_search_preview"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": 5}, "text"),
        ({"max_output_tokens": "x"}, "max_output_tokens"),
        ({"presence_penalty": 5}, "presence_penalty"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 7}, "top_p"),
        ({"repetition_penalty": -1}, "repetition_penalty"),
        ({"metadata": 5}, "metadata"),
        ({"input": [{"type": "nothing"}]}, "input[0].type"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str):
    with pytest.raises(ApiError) as refused:
        converted(**fields)
    assert refused.value.status == 400
    assert (refused.value.param or "").startswith(param)


def test_errors_name_the_items_and_fields_of_this_api():
    items = [
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Who?"},
    ]
    conversion = converted(instructions="Be brief.", input=items)
    error = conversion.named(
        ApiError(
            "messages[2].content[0] is wrong; lower max_tokens.", param="messages[2].content[0].image_url"
        )
    )
    assert error.param == "input[2].content[0].image_url"
    assert error.message == "input[2].content[0] is wrong; lower max_output_tokens."
    assert conversion.named(ApiError("?", param="messages[0].content")).param == "input.content"
    assert conversion.named(ApiError("?", param="response_format")).param == "text.format"


def test_a_reply_is_a_response_of_openai():
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    conversion = converted(tools=[FUNCTION], metadata={"a": "b"}, instructions="Be brief.")
    body = conversion.reply(
        {**chat_reply(reasoning="Hm.", content="It rains.", tool_calls=[call]), "vision": {"tiles": 1}}
    )
    response = Response.model_validate(json.loads(json.dumps(body)))
    assert response.id == "resp_r1" and response.status == "completed" and response.output_text == "It rains."
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.usage is not None and response.usage.input_tokens_details.cached_tokens == 2
    assert (response.temperature, response.max_output_tokens) == (0.5, 100)
    assert response.metadata == {"a": "b"} and response.instructions == "Be brief."
    assert body["vision"] == {"tiles": 1} and "kv_transfer_params" not in body


@pytest.mark.parametrize("name", sorted(RULES.passed - {"input", "request_id"}))
def test_a_null_is_as_good_as_no_field(name: str):
    """The reply repeats some fields, and vLLM's type of the reply allows no null in them."""
    assert Response.model_validate(converted(**{name: None}).reply(chat_reply(content="Yes.")))


def test_a_cut_answer_is_incomplete():
    body = converted().reply(chat_reply("length", content="It"))
    assert body["status"] == "incomplete" and body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["output"][0]["status"] == "incomplete"


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **fields: Any) -> str:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return f"data: {json.dumps({'model': 'nano', 'choices': choices, **fields})}\n\n"


async def events_of(conversion: ResponseConversion, chunks: Sequence[str]) -> tuple[list[str], list[Any]]:
    async def stream() -> AsyncGenerator[str, None]:
        for each in chunks:
            yield each

    events = [event async for event in conversion.events(stream())]
    comments = [event for event in events if event.startswith(":")]
    named = [event.split("\ndata: ") for event in events if not event.startswith(":")]
    bodies = [json.loads(data) for _, data in named]
    assert [name for name, _ in named] == [f"event: {body['type']}" for body in bodies]
    assert [body["sequence_number"] for body in bodies] == list(range(len(bodies)))
    return comments, bodies


async def test_chunks_become_the_events_of_a_response():
    calls = [
        {
            "tool_calls": [
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
    ]
    comments, events = await events_of(
        converted(tools=[FUNCTION], stream=True),
        [
            ": still working\n\n",
            chunk({"role": "assistant", "content": ""}, vision={"tiles": 1}),
            chunk({"reasoning": "Hm."}),
            chunk({"content": "It "}),
            chunk({"content": "rains."}),
            *map(chunk, calls),
            chunk({}, "tool_calls"),
            f"data: {json.dumps(LAST_CHUNK)}\n\n",
            "data: [DONE]\n\n",
        ],
    )
    assert comments == [": still working\n\n"]
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    texts = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert texts == ["It ", "rains."]
    last = events[-1]
    assert last["type"] == "response.completed"
    response = Response.model_validate(last["response"])
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.output_text == "It rains." and last["response"]["output"][2]["arguments"] == "{}"
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert [item["id"] for item in done] == [item["id"] for item in last["response"]["output"]]
    assert last["response"]["test_time_scaling"] == {"n": 2} and last["response"]["vision"] == {"tiles": 1}
    assert response.usage is not None and response.usage.output_tokens == 4


async def test_a_cut_stream_ends_with_an_incomplete_response():
    _, events = await events_of(
        converted(stream=True), [chunk({"content": "It"}), chunk({}, "length"), "data: [DONE]\n\n"]
    )
    assert events[-1]["type"] == "response.incomplete" == f"response.{events[-1]['response']['status']}"


async def test_an_error_is_the_last_event_and_names_this_apis_fields():
    error = {"message": "Lower max_tokens.", "type": "server_error", "param": "max_tokens", "code": "x"}
    _, events = await events_of(
        converted(stream=True),
        [chunk({"content": "It"}), f"data: {json.dumps({'error': error})}\n\n", "data: [DONE]\n\n"],
    )
    last = events[-1]
    assert (last["type"], last["param"], last["code"]) == ("error", "max_output_tokens", "x")
    assert last["error"]["message"] == last["message"] == "Lower max_output_tokens."
