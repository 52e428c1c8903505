"""JSON answers of a real server end, although the model would rather write white space for ever.

Its weights are random, so `logit_bias` makes white space by far the most likely next token wherever the
grammar allows it.
"""

import json
from typing import Any

import pytest

from tests.checkpoints import byte_tokenizer
from tests.server.apps import question

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
LIKELY = {"Ġ": 100, "Ċ": 100, "ĉ": 100, "}": 60, "a": 60}  # the first three are space, newline and tab
BIAS = {str(byte_tokenizer().convert_tokens_to_ids(token)): bias for token, bias in LIKELY.items()}
FLAGS: dict[str, Any] = {
    "type": "object",
    "properties": {"wide": {"type": "boolean"}, "sides": {"type": "array", "items": {"enum": [1, 2]}}},
    "required": ["wide", "sides"],
    "additionalProperties": False,
}
FLAGS["properties"]["sides"] |= {"minItems": 2, "maxItems": 2}
# xgrammar ignores the lengths where there is a pattern, so vLLM's check chooses guidance.
OF_GUIDANCE = {
    "type": "object",
    "properties": {
        "wide": {"type": "boolean"},
        "word": {"type": "string", "pattern": "^a+$", "minLength": 2, "maxLength": 3},
    },
    "required": ["wide", "word"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "draw", "strict": True, "parameters": FLAGS}}


def schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


async def choice_of(client, **more: Any) -> dict[str, Any]:
    body = question(**{"max_tokens": 400, "temperature": 0, "logit_bias": BIAS} | more)
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    choice: dict[str, Any] = reply.json()["choices"][0]
    return choice


@pytest.mark.parametrize("more", [{}, {"best_of": 2}], ids=["plain", "best of 2"])
@pytest.mark.parametrize("schema", [FLAGS, OF_GUIDANCE], ids=["xgrammar", "guidance"])
async def test_a_schema_ends_with_its_last_bracket(client, schema, more):
    """The two backends take turns: each schema is compiled by the one that knows it."""
    choice = await choice_of(client, response_format=schema_format(schema), **more)
    assert choice["finish_reason"] == "stop"
    content = choice["message"]["content"]
    answer = json.loads(content)
    assert set(answer) == set(schema["required"]) and answer.get("word", "aaa") == "aaa"
    assert "  " not in content and "\n" not in content and "\t" not in content


async def test_any_object_ends_with_its_last_bracket(client):
    choice = await choice_of(client, response_format={"type": "json_object"})
    assert (choice["finish_reason"], choice["message"]["content"]) == ("stop", "{}")


@pytest.mark.parametrize("tool_choice", ["required", {"type": "function", "function": {"name": "draw"}}])
async def test_a_forced_tool_call_ends(client, tool_choice):
    choice = await choice_of(client, tools=[TOOL], tool_choice=tool_choice)
    for call in choice["message"]["tool_calls"]:  # "required" allows several
        assert set(json.loads(call["function"]["arguments"])) == {"wide", "sides"}
    assert choice["finish_reason"] in ("stop", "tool_calls")
