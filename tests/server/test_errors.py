"""The error for a wrong field names that field, also where a value may have several types."""

from typing import Any

import pytest
from pydantic import ValidationError
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

from server.errors import field_error

USER = {"role": "user", "content": "How many?"}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {}}}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"stop": ["a"] * 1000}, "stop", "invalid_value"),
    ({"stop": [1]}, "stop[0]", "invalid_value"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        "response_format.json_schema.name",
        "missing_required_parameter",
    ),
    ({"messages": [{**USER, "name": 5}]}, "messages[0].name", "invalid_value"),
    ({"messages": [{**USER, "content": None}]}, "messages[0].content", "invalid_value"),
    ({"messages": [USER, {"role": "assistant", "content": 5}]}, "messages[1].content", "invalid_value"),
    ({"messages": [{"role": "tool", "content": 5}]}, "messages[0].content", "invalid_value"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    (
        {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}]},
        "tool_calls[0].function.arguments",
        "invalid_value",
    ),
]


@pytest.mark.parametrize(("fields", "param", "code"), WRONG)
def test_the_wrong_field_is_named(fields: dict[str, Any], param: str, code: str):
    """pydantic reports the errors of all types that a value may have; the first one often misleads."""
    with pytest.raises(ValidationError) as refusal:
        ChatCompletionRequest.model_validate({"messages": [USER], **fields})
    error = field_error(refusal.value)
    assert (error.param, error.code) == (param, code)
    assert error.message.startswith(param)


def test_a_list_that_is_too_long_is_no_wrong_type():
    with pytest.raises(ValidationError) as refusal:
        ChatCompletionRequest.model_validate({"messages": [USER], "stop": ["a"] * 1000})
    assert "at most" in field_error(refusal.value).message
