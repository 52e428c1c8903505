"""Requests that no ordinary client sends: the running server refuses them by name and answers the next."""

import json
from typing import Any

import httpx
import pytest

from tests.server.apps import question

pytestmark = pytest.mark.engine
CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "How many?"}


def deep(levels: int) -> dict[str, Any]:
    """A schema of so many objects, each inside the one before."""
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def formatted(schema: Any) -> dict[str, Any]:
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        "max_tokens": 4,
    }


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}


RECURSIVE = {
    "$defs": {"a": {"type": "object", "properties": {"b": {"$ref": "#/$defs/a"}}}},
    "$ref": "#/$defs/a",
}
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no schema": (formatted(None), "response_format", "missing_required_parameter"),
    "bounds that no array meets": (
        formatted({"type": "array", "items": {"type": "integer"}, "minItems": 5, "maxItems": 2}),
        "response_format",
        "invalid_value",
    ),
    "a pattern that is none": (
        formatted({"type": "string", "pattern": "("}),
        "response_format",
        "invalid_value",
    ),
    "an unknown format": (
        formatted({"type": "string", "format": "none"}),
        "response_format",
        "invalid_value",
    ),
    "objects in objects": (formatted(deep(100)), "response_format", "grammar_too_complex"),
    "no choice": ({"structured_outputs": {"choice": []}}, "structured_outputs", "invalid_value"),
    "two constraints": (
        {**formatted({"type": "integer"}), "structured_outputs": {"regex": "a"}},
        "structured_outputs",
        "invalid_value",
    ),
    "tools nested deeply": ({**tool(deep(150)), "tool_choice": "required"}, "tools", "grammar_too_complex"),
    "no prompt left": ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "invalid_value"),
    "far too long": (
        {"messages": [{"role": "user", "content": "a " * 1_000_000}]},
        "messages",
        "context_length_exceeded",
    ),
    "a program": ({"chat_template": "{{ 1/0 }}"}, "chat_template", "invalid_value"),
    "1,000 stops": ({"stop": ["a"] * 1000}, "stop", "invalid_value"),
}
ANSWERED: dict[str, dict[str, Any]] = {
    "a recursive schema": formatted(RECURSIVE),
    "a recursive tool": {**tool(RECURSIVE), "tool_choice": "required", "max_tokens": 4},
    "a billion repetitions": {"structured_outputs": {"regex": "a{1000000000}"}, "max_tokens": 4},
}


@pytest.mark.parametrize(
    "more", [{}, {"stream": True}, {"best_of": 2}], ids=["plain", "streamed", "best of 2"]
)
@pytest.mark.parametrize("name", REFUSED)
async def test_the_refusal_names_the_field(client: httpx.AsyncClient, name: str, more: dict[str, Any]):
    fields, param, code = REFUSED[name]
    reply = await client.post(CHAT, json=question(**fields, **more))
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, code), error
    assert error["param"].startswith(param), "with Best-of-N it may say where in the field"
    assert "_backend" not in error["message"] and "_serialize" not in error["message"]
    assert (await client.post(CHAT, json=question(max_tokens=4))).status_code == 200


@pytest.mark.parametrize("name", ANSWERED)
async def test_what_compiles_is_answered(client: httpx.AsyncClient, name: str):
    reply = await client.post(CHAT, json=question(**ANSWERED[name]))
    assert reply.status_code == 200, json.dumps(reply.json())
