"""The refusal of a grammar names the field that it came from."""

from typing import Any

import pytest

from server.vllm_engine.grammars.client import grammar_param

TOOLS = {"tools": [{"type": "function"}], "tool_choice": "required"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_object"}, **TOOLS}, "response_format"),
        ({"response_format": {"type": "text"}, **TOOLS}, "tools"),
        ({"response_format": {"type": "text"}, "structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ({"response_format": None, "structured_outputs": {"regex": "a"}}, "structured_outputs"),
        (TOOLS, "tools"),
    ],
)
def test_the_field_of_a_grammar(body: dict[str, Any], param: str):
    assert grammar_param(body) == param
