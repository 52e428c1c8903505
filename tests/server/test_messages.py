"""Anthropic's Messages API by its official client, and by raw requests, on a real server."""

import base64
import json
from typing import Any

import anthropic
import httpx
import pytest

from tests.server.conftest import bearer
from tests.server.media.test_loader import encoded
from tests.server.running import RunningServer
from tests.server.test_end_to_end import CHAT
from tests.server.test_usage import engine_counts, key_tokens

pytestmark = pytest.mark.engine
PATH = "/v1/messages"
PNG = encoded("PNG", (300, 200))
DATA = base64.b64encode(PNG).decode()
CONTENT: list[Any] = [
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    {"type": "text", "text": "How many?"},
]
CHAT_CONTENT: list[Any] = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
    {"type": "text", "text": "How many?"},
]
GREEDY: dict[str, Any] = {"model": "nano", "temperature": 0, "max_tokens": 8}
# Anthropic's client has no argument for the temperature any more.
BY_CLIENT: dict[str, Any] = {"model": "nano", "max_tokens": 8, "extra_body": {"temperature": 0}}
TOOL: Any = {
    "name": "weather",
    "description": "Says the weather.",
    "input_schema": {"type": "object", "properties": {"at": {"enum": ["here"]}}, "required": ["at"]},
}


def input_tokens(usage: Any) -> int:
    """Return the tokens of a prompt, which Anthropic counts in three parts."""
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    tokens: int = usage.input_tokens + cached
    return tokens


@pytest.fixture(scope="module")
def official(server: RunningServer) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="unused", max_retries=0)


@pytest.mark.parametrize("content", ["How many?", CONTENT], ids=["text", "image"])
async def test_a_message_is_the_chat_answer_streamed_or_not(official, client: httpx.AsyncClient, content):
    chat_content = CHAT_CONTENT if content is CONTENT else content
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": chat_content},
    ]
    chat = (await client.post(CHAT, json={**GREEDY, "messages": conversation})).json()
    asked: Any = {**BY_CLIENT, "system": "Be brief.", "messages": [{"role": "user", "content": content}]}
    message = official.messages.create(**asked)
    (block,) = message.content
    assert block.text == chat["choices"][0]["message"]["content"]
    cut = chat["choices"][0]["finish_reason"] == "length"
    assert (message.type, message.role) == ("message", "assistant")
    assert message.stop_reason == ("max_tokens" if cut else "end_turn")
    usage = message.usage
    assert (input_tokens(usage), usage.output_tokens) == (
        chat["usage"]["prompt_tokens"],
        chat["usage"]["completion_tokens"],
    )
    with official.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == block.text
        last = stream.get_final_message()
    assert last.stop_reason == message.stop_reason and last.usage.output_tokens == usage.output_tokens
    assert (content is CONTENT) == hasattr(message, "vision") == hasattr(last, "vision")


def test_the_count_of_tokens_is_that_of_the_message(official):
    asked: Any = {"model": "nano", "messages": [{"role": "user", "content": CONTENT}], "tools": [TOOL]}
    count = official.messages.count_tokens(**asked)
    usage = official.messages.create(**asked, max_tokens=1).usage
    assert count.input_tokens == input_tokens(usage)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_forced_tool_is_called(client: httpx.AsyncClient, stream: bool):
    """The weights are random, so what stands in the call may be anything."""
    reply = await client.post(
        PATH,
        json={
            **{**GREEDY, "max_tokens": 400},
            "messages": [{"role": "user", "content": "Weather?"}],
            "tools": [TOOL],
            "tool_choice": {"type": "tool", "name": "weather"},
            "stream": stream,
        },
    )
    assert reply.status_code == 200, reply.text
    if stream:
        events = [json.loads(event.split("\ndata: ")[1]) for event in reply.text.split("\n\n") if event]
        assert events[-1]["type"] == "message_stop"
        (call,) = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        (stop_reason,) = [
            event["delta"]["stop_reason"] for event in events if event["type"] == "message_delta"
        ]
    else:
        (call,) = reply.json()["content"]
        stop_reason = reply.json()["stop_reason"]
    assert (call["type"], call["name"]) == ("tool_use", "weather") and isinstance(call["input"], dict)
    assert stop_reason in ("tool_use", "max_tokens")


def test_the_result_of_a_tool_may_hold_an_image(official):
    result: Any = {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": [{"type": "text", "text": "Rain."}, CONTENT[0]],
    }
    call: Any = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"at": "here"}}
    turns: Any = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    message = official.messages.create(**BY_CLIENT, messages=turns, tools=[TOOL])
    assert message.vision["tiles"] > 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an image that is none": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "AA"}}]}
            ]
        },
        "image",
    ),
    "a host of the network": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/a.png"}}],
                }
            ]
        },
        "host",
    ),
    "the window": ({"messages": [{"role": "user", "content": "word " * 20_000}]}, "messages"),
    "best_of": ({"best_of": 4}, "/v1/chat/completions and /v1/responses"),
    "no max_tokens": ({"max_tokens": None}, "max_tokens"),
    "max_tokens beyond the window": ({"max_tokens": 10**6}, "max_tokens"),
    "temperature": ({"temperature": -1}, "temperature"),
    "top_k": ({"top_k": -7}, "top_k"),
    "delta": ({"v2pe_delta": "much"}, "v2pe_delta"),
    "no messages": ({"messages": []}, "messages"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_told_in_anthropics_form(client: httpx.AsyncClient, name: str, stream: bool):
    wrong, word = REFUSED[name]
    asked = {**GREEDY, "messages": [{"role": "user", "content": "?"}], "stream": stream, **wrong}
    reply = await client.post(PATH, json=asked)
    body = reply.json()
    assert reply.status_code == 400, body
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    assert word in body["error"]["message"] and body["request_id"] == reply.headers["x-request-id"]


def test_anthropics_client_knows_the_errors(official, keyed_server: RunningServer):
    asked: Any = {"max_tokens": 1, "messages": [{"role": "user", "content": "?"}]}
    with pytest.raises(anthropic.NotFoundError, match="nano"):
        official.messages.create(model="claude", **asked)
    stranger = anthropic.Anthropic(base_url=keyed_server.url, api_key="wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="nano", **asked)
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.count_tokens(model="nano", messages=asked["messages"])


async def test_every_token_is_counted_for_the_key_in_anthropics_header(keyed_server: RunningServer):
    """Anthropic's clients send the key as x-api-key."""
    key = bearer("second")["Authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(
        base_url=keyed_server.url, timeout=120, headers={"x-api-key": key}
    ) as client:
        engines, keys = await engine_counts(client), await key_tokens(client, "second")
        for stream in (False, True):
            body = {**GREEDY, "messages": [{"role": "user", "content": "?"}], "stream": stream}
            assert (await client.post(PATH, json=body)).status_code == 200
        counted = await key_tokens(client, "second") - keys
        engines = await engine_counts(client) - engines
        assert counted["policy completion"] == engines["nano generation_tokens"] > 0
