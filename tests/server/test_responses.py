"""OpenAI's Responses API by its official client, on a real server."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.server.conftest import bearer
from tests.server.media.test_loader import data_url, encoded
from tests.server.running import RunningServer
from tests.server.test_end_to_end import CHAT
from tests.server.test_usage import engine_counts, key_tokens

pytestmark = pytest.mark.engine
PATH = "/v1/responses"
IMAGE = data_url(encoded("PNG", (300, 200)))
ITEMS: list[Any] = [
    {
        "role": "user",
        "content": [{"type": "input_image", "image_url": IMAGE}, {"type": "input_text", "text": "How many?"}],
    }
]
MESSAGES: list[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": IMAGE}},
            {"type": "text", "text": "How many?"},
        ],
    }
]
GREEDY: dict[str, Any] = {"model": "nano", "temperature": 0, "max_output_tokens": 8}
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "Says the weather.",
    "parameters": {"type": "object", "properties": {"at": {"enum": ["here"]}}, "required": ["at"]},
    "strict": False,  # a strict one would be written by a grammar of its own, again and again
}
CALL = '<tool_call>{"name": "weather", "arguments": {"at": "here"}}</tool_call>'


@pytest.fixture(scope="module")
def official(server: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


@pytest.mark.parametrize("items", ["How many?", ITEMS], ids=["text", "image"])
def test_a_response_is_the_chat_answer_streamed_or_not(official, items):
    messages = MESSAGES if items is ITEMS else [{"role": "user", "content": items}]
    chat = official.chat.completions.create(model="nano", messages=messages, temperature=0, max_tokens=8)
    whole = official.responses.create(**GREEDY, input=items)
    assert whole.output_text == chat.choices[0].message.content
    assert whole.usage.input_tokens == chat.usage.prompt_tokens
    assert whole.status == ("incomplete" if chat.choices[0].finish_reason == "length" else "completed")
    with official.responses.stream(**GREEDY, input=items) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        last = stream.get_final_response() if whole.status == "completed" else None
    assert "".join(deltas) == whole.output_text
    assert last is None or last.usage.output_tokens == whole.usage.output_tokens
    assert (items is ITEMS) == hasattr(whole, "vision")


def test_instructions_are_a_system_message(official):
    messages: list[Any] = [
        {"role": "system", "content": "Count backwards."},
        {"role": "user", "content": "How many?"},
    ]
    chat = official.chat.completions.create(model="nano", messages=messages, temperature=0, max_tokens=8)
    response = official.responses.create(**GREEDY, instructions="Count backwards.", input="How many?")
    assert response.output_text == chat.choices[0].message.content


def test_best_of_n_chooses_as_in_a_chat(official):
    extra = {"best_of": 4, "seed": 5}
    chat = official.chat.completions.create(model="nano", messages=MESSAGES, max_tokens=16, extra_body=extra)
    response = official.responses.create(model="nano", input=ITEMS, max_output_tokens=16, extra_body=extra)
    alias = official.responses.create(
        model="nano:bo4", input=ITEMS, max_output_tokens=16, stream=True, extra_body={"seed": 5}
    )
    last = list(alias)[-1].response
    assert response.output_text == last.output_text == chat.choices[0].message.content
    reports = [reply.test_time_scaling for reply in (chat, response, last)]
    for report in reports:
        report.pop("usage")  # how much the caches served differs
    assert reports[0] == reports[1] == reports[2] and len(reports[0]["candidates"]) == 4
    assert response.usage.output_tokens == chat.usage.completion_tokens


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("best_of", [1, 2])
def test_a_tool_is_called_and_its_output_goes_on(official, stream: bool, best_of: int):
    """The answer is limited to a call, because the weights are random."""
    asked: Any = {
        **{**GREEDY, "max_output_tokens": 300},
        "input": "Weather?",
        "tools": [TOOL],
        "extra_body": {"best_of": best_of, "structured_outputs": {"choice": [CALL]}},
    }
    reply = official.responses.create(**asked, stream=stream)
    response = list(reply)[-1].response if stream else reply
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"at": "here"})
    assert response.status == "completed"
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}
    items = [{"role": "user", "content": "Weather?"}, call.model_dump(exclude_none=True), output]
    assert official.responses.create(**GREEDY, input=items, tools=[TOOL], tool_choice="none").usage


def test_an_answer_follows_its_format(official):
    schema = {"type": "object", "properties": {"n": {"enum": [1]}}, "required": ["n"]}
    text: Any = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
    response = official.responses.create(**{**GREEDY, "max_output_tokens": 40}, input="?", text=text)
    assert response.output_text.replace(" ", "").replace("\n", "") == '{"n":1}'
    assert response.text.format.schema_ == schema


def test_log_probabilities_are_those_of_a_chat(official):
    include: Any = ["message.output_text.logprobs"]
    response = official.responses.create(**GREEDY, input="How many?", include=include, top_logprobs=2)
    tokens = response.output[0].content[0].logprobs
    assert len(tokens) == response.usage.output_tokens or response.status == "completed"
    assert all(len(token.top_logprobs) == 2 for token in tokens)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an image that is none": (
        {
            "input": [
                {
                    "role": "user",
                    "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}],
                }
            ]
        },
        "input[0].content[0].image_url",
    ),
    "a host of the network": (
        {
            "input": [
                {"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.1/a.png"}]}
            ]
        },
        "input[0].content[0].image_url",
    ),
    "the window": ({"input": "word " * 20_000}, "input"),
    "best_of": ({"best_of": 10_000}, "best_of"),
    "a grammar": (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "x"}}}},
        "text.format",
    ),
    "a stored response": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "the background": ({"background": True}, "background"),
    "max_output_tokens": ({"max_output_tokens": 0}, "max_output_tokens"),
    "logprobs": ({"include": ["message.output_text.logprobs"], "top_logprobs": 1000}, "logprobs"),
    "delta": ({"v2pe_delta": "much"}, "v2pe_delta"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_names_its_field(client: httpx.AsyncClient, name: str, stream: bool):
    wrong, param = REFUSED[name]
    reply = await client.post(PATH, json={**GREEDY, "input": "?", "stream": stream, **wrong})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param), error
    assert "messages" not in error["message"]


async def test_nothing_is_stored(client: httpx.AsyncClient):
    for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/input_items")):
        reply = await client.request(method, f"{PATH}/resp_1{path}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "response_not_found")


async def test_every_token_is_counted_for_its_key(keyed_server: RunningServer):
    async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120, headers=bearer("second")) as client:
        engines, keys = await engine_counts(client), await key_tokens(client, "second")
        for stream in (False, True):
            body = {"model": "nano", "input": "How many?", "max_output_tokens": 6, "best_of": 2}
            reply = await client.post(PATH, json={**body, "stream": stream})
            assert reply.status_code == 200, reply.text
        engines = await engine_counts(client) - engines
        counted = await key_tokens(client, "second") - keys
        assert counted["policy completion"] == engines["nano generation_tokens"] > 0
        other = await client.post(CHAT, json={"model": "nano", "messages": []})
        assert other.json()["error"]["param"] == "messages"
