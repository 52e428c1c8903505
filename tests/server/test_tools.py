"""Tools and response formats with Best-of-N on a real engine: invalid candidates are not scored or chosen."""

import json
from itertools import cycle
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Any

import httpx
import pytest

from server.vllm_engine.policy.answer_validation import CUT_OFF
from tests.server.apps import events_of, question

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
N = 12
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
GOOD = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
WRONG = '<tool_call>{"name": "add", "arguments": {"a": "one"}}</tool_call>'
BROKEN = '<tool_call>{"name": "add", "arguments": '
SCHEMA = {
    "type": "object",
    "properties": {"word": {"enum": [*ascii_lowercase, *(letter * 60 for letter in ascii_uppercase)]}},
    "required": ["word"],
    "additionalProperties": False,
}


def scaled_question(**more: Any) -> dict[str, Any]:
    scaling = {"n": N, "return_candidates": True}
    return question(**{"seed": 3, "temperature": 2.0, "max_tokens": 90, "test_time_scaling": scaling} | more)


def limited_question(*texts: str, **more: Any) -> dict[str, Any]:
    """Return a request whose candidates are limited to these texts, because the model's weights are random.

    Every choice is a letter and one of the texts, so that the first letter decides which text is written.
    """
    choice = [f"{letter}: {text}" for letter, text in zip(ascii_letters, cycle(texts), strict=False)]
    return scaled_question(tools=[TOOL], structured_outputs={"choice": choice}, **more)


def text_of(candidate: dict[str, Any]) -> str:
    """Return a candidate's text without the letter."""
    text: str = candidate["text"]
    return text.partition(": ")[2]


async def reply_to(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    completion: dict[str, Any] = reply.json()
    return completion


async def test_calls_that_do_not_match_their_tool_are_dropped_unscored(client):
    reply = await reply_to(client, limited_question(GOOD, WRONG, BROKEN))
    report = reply["test_time_scaling"]
    valid = report["candidates"]
    assert 0 < len(valid) < N, "this seed gives valid and invalid candidates"
    assert all(text_of(candidate) == GOOD and candidate["score"] is not None for candidate in valid)
    (call,) = reply["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"a": 1}
    assert reply["choices"][0]["finish_reason"] == "tool_calls"
    assert "breaks the schema's type at $.a" in report["degraded"]
    assert report["degraded"].count("candidate ") == N - len(valid)
    of_valid = sum(candidate["completion_tokens"] for candidate in valid)
    assert reply["usage"]["completion_tokens"] > of_valid, "the invalid candidates count as generated"


async def test_streamed_the_same_call_comes_in_pieces(client):
    _, chunks = events_of((await client.post(CHAT, json=limited_question(GOOD, WRONG, stream=True))).text)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    pieces = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    assert [piece["name"] for piece in pieces if piece.get("name")] == ["add"]
    assert json.loads("".join(piece.get("arguments") or "" for piece in pieces)) == {"a": 1}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_with_fewer_valid_candidates_than_n_fewer_choices_come(client):
    body = limited_question(GOOD, WRONG, n=N)
    choices = (await reply_to(client, body))["choices"]
    _, chunks = events_of((await client.post(CHAT, json={**body, "stream": True})).text)
    streamed = [choice for chunk in chunks for choice in chunk["choices"]]
    ended = {choice["index"] for choice in streamed if choice["finish_reason"]}
    assert {choice["index"] for choice in streamed} == ended == {choice["index"] for choice in choices}
    assert 0 < len(choices) < N, "this seed gives valid and invalid candidates"


async def test_several_calls_in_one_answer(client):
    reply = await reply_to(client, limited_question(GOOD + GOOD, GOOD + WRONG, max_tokens=140))
    assert len(reply["choices"][0]["message"]["tool_calls"]) == 2
    texts = {text_of(candidate) for candidate in reply["test_time_scaling"]["candidates"]}
    assert texts == {GOOD + GOOD} and reply["test_time_scaling"]["degraded"] is not None


async def test_free_text_stays_valid_beside_tools(client):
    reply = await reply_to(client, limited_question("nothing to add", "nothing at all"))
    assert reply["test_time_scaling"]["degraded"] is None
    assert "nothing" in reply["choices"][0]["message"]["content"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "add"}}])
async def test_if_none_validates_the_first_comes_back_as_a_plain_request_would_have_it(client, choice: Any):
    """The tool is strict, because otherwise vLLM's grammar for a demanded call leaves the arguments free."""
    strict = {**TOOL, "function": {**TOOL["function"], "strict": True}}
    reply = await reply_to(client, scaled_question(tools=[strict], tool_choice=choice, max_tokens=4))
    report = reply["test_time_scaling"]
    assert reply["choices"][0]["finish_reason"] == "length"
    assert report["selected"] == 0 and report["degraded"].count(CUT_OFF) == N
    assert [candidate["score"] for candidate in report["candidates"]] == [None]
    complete = await reply_to(client, scaled_question(tools=[strict], tool_choice=choice, temperature=1.0))
    (call, *_) = complete["choices"][0]["message"]["tool_calls"]
    assert isinstance(json.loads(call["function"]["arguments"])["a"], int)


@pytest.mark.parametrize("stream", [False, True])
async def test_answers_that_were_cut_off_in_their_format_are_dropped(client, stream: bool):
    response_format = {"type": "json_schema", "json_schema": {"name": "word", "schema": SCHEMA}}
    body = scaled_question(response_format=response_format, max_tokens=60, stream=stream)
    if stream:
        _, chunks = events_of((await client.post(CHAT, json=body)).text)
        content = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        report = chunks[-1]["test_time_scaling"]
    else:
        reply = await reply_to(client, body)
        content, report = reply["choices"][0]["message"]["content"], reply["test_time_scaling"]
    assert set(json.loads(content)) == {"word"}
    valid = report["candidates"]
    assert 0 < len(valid) < N, "this seed gives valid and invalid candidates"
    assert all(candidate["score"] is not None and json.loads(candidate["text"]) for candidate in valid)
    assert report["degraded"].count(CUT_OFF) == N - len(valid)


async def test_parameters_that_are_no_schema_are_refused(client):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "number-ish"}}}
    refused = await client.post(CHAT, json=scaled_question(tools=[tool]))
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "tools[0].function.parameters"
