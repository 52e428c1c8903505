"""Candidates that are invalid by format or tool calls, and schemas from hostile clients."""

import json
from typing import Any
from unittest.mock import Mock

import pytest

from server.errors import ApiError
from server.vllm_engine.policy.answer_validation import CUT_OFF, ParsedAnswer, Schema, ToolCall, Validation

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "how": {"enum": ["fast", "slow"]}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}
NOW = {"type": "function", "function": {"name": "now"}}
COUNT = {
    "type": "json_schema",
    "json_schema": {"name": "count", "schema": {"type": "object", "required": ["count"]}},
}


def calls(*pairs: tuple[str, str]) -> ParsedAnswer:
    return ParsedAnswer(
        content="", calls=[ToolCall(name=name, arguments=arguments) for name, arguments in pairs]
    )


def find_problem(
    parsed: ParsedAnswer | str, *, finish: str = "stop", choice: Any = None, **body: Any
) -> str | None:
    """Return the problem of an answer with this parse result, or of a plain text."""
    answer = ParsedAnswer(content=parsed) if isinstance(parsed, str) else parsed
    validation = Validation({"tool_choice": choice, **body}, lambda text, token_ids: answer)
    return validation.find_problem("raw", [], finish)


def test_free_text_is_valid_even_where_it_was_cut_off():
    assert find_problem("anything") is None
    assert find_problem("anyth", finish="length") is None
    assert find_problem("anything", tools=[ADD]) is None
    assert find_problem("anything", response_format={"type": "text"}) is None


@pytest.mark.parametrize("answer", ['{"count": 3}', '{"count": 3}  \n'])
def test_an_answer_of_its_schema(answer: str):
    assert find_problem(answer, response_format=COUNT) is None
    assert find_problem(answer, response_format=COUNT, finish="length") is None, "complete before the cut"


@pytest.mark.parametrize("answer", ["{}", "[]", '{"count": 3', "", "NaN", "[" * 100_000, "1" * 5000])
def test_an_answer_that_breaks_its_schema(answer: str):
    assert find_problem(answer, response_format=COUNT) is not None


def test_any_object_will_do_for_json_object():
    response_format = {"type": "json_object"}
    assert find_problem("{}", response_format=response_format) is None
    assert find_problem("[1]", response_format=response_format) is not None


def test_a_complaint_says_that_it_was_cut_off():
    problem = find_problem('{"count": ', response_format=COUNT, finish="length")
    assert problem is not None and problem.startswith(CUT_OFF)


def test_a_grammar_that_was_cut_off():
    assert find_problem("a", structured_outputs={"regex": "ab"}, finish="length") == CUT_OFF
    assert find_problem("ab", structured_outputs={"regex": "ab"}) is None


GOOD = ("add", '{"a": 1, "how": "fast"}')


@pytest.mark.parametrize(
    ("call", "valid"),
    [
        (GOOD, True),
        (("now", "{}"), True),
        (("now", '{"any": "thing"}'), True),
        (("now", '"thing"'), False),
        (("add", '{"a": "1"}'), False),
        (("add", '{"a": 1, "b": 2}'), False),
        (("add", '{"a": 1, "how": "never"}'), False),
        (("add", "{}"), False),
        (("add", '{"a": 1'), False),
        (("sub", '{"a": 1}'), False),
    ],
)
def test_calls_match_their_tools(call: tuple[str, str], valid: bool):
    assert (find_problem(calls(call), tools=[ADD, NOW]) is None) == valid
    assert (find_problem(calls(GOOD, call), tools=[ADD, NOW]) is None) == valid, "every one of several"


def test_a_call_that_can_not_be_read():
    assert find_problem(ParsedAnswer(content="<tool_call>{", broken=True), tools=[ADD]) is not None
    assert find_problem(ParsedAnswer(content="<tool_call>{", broken=True), tools=[ADD], choice="none") is None


def test_a_call_may_stand_for_the_format_and_text_must_have_it():
    assert find_problem(calls(GOOD), tools=[ADD], response_format=COUNT) is None
    assert find_problem("text", tools=[ADD], response_format=COUNT) is not None


def test_a_demanded_call_must_come():
    named = {"type": "function", "function": {"name": "add"}}
    for choice in ("required", named):
        assert find_problem("text", tools=[ADD, NOW], choice=choice) is not None
        assert find_problem(calls(GOOD), tools=[ADD, NOW], choice=choice) is None
    assert find_problem(calls(("now", "{}")), tools=[ADD, NOW], choice=named) is not None
    assert find_problem(calls(("now", "{}")), tools=[ADD, NOW], choice="required") is None


@pytest.mark.parametrize(
    "schema", [3, {"type": "nothing"}, {"properties": []}, {"$ref": 5}, {"$schema": 5}, {"type": 1}]
)
def test_what_is_no_schema_is_refused_by_its_place(schema: Any):
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    with pytest.raises(ApiError) as refused:
        find_problem("x", tools=[ADD, tool])
    assert refused.value.status == 400
    assert refused.value.param == "tools[1].function.parameters"


def test_schemas_in_the_dialect_that_they_name():
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}
    schema = Schema(draft4, "p")
    assert schema.find_problem("it", "4") is None
    assert schema.find_problem("it", "3") is not None


def doubling(levels: int) -> dict[str, Any]:
    """Return a small schema that takes 2^levels checks."""
    refs = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)}
    return {"$defs": {**refs, f"d{levels}": True}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    "schema",
    [doubling(60), {"$ref": "#"}, {"$ref": "http://127.0.0.1:9/schema.json"}, {"$ref": "file:///etc/passwd"}],
)
def test_schemas_that_never_end_or_lead_elsewhere_come_to_an_end(schema: dict[str, Any]):
    assert Schema(schema, "p").find_problem("it", "{}") is not None


def test_regular_expressions_are_left_to_the_grammar():
    """Checking these patterns with a backtracking matcher would never end."""
    schema = {
        "properties": {"s": {"type": "string", "pattern": "^(a+)+$"}},
        "patternProperties": {"^(x+)+$": {"type": "integer"}},
        "additionalProperties": False,
    }
    assert (
        Schema(schema, "p").find_problem("it", json.dumps({"s": "a" * 60 + "b", "x" * 60 + "y": 1})) is None
    )
    assert Schema(schema, "p").find_problem("it", '{"s": 1}') is not None


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 1.0], False),
        ([1, True, 0, False, "1", None], True),
        ([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
        ([[1], [True], {"a": 1}, {"a": True}, [], {}], True),
        ([float(2**53), 2**53 + 1], True),
    ],
)
def test_unique_items_are_equal_as_json(items: list[Any], unique: bool):
    problem = Schema({"uniqueItems": True}, "p").find_problem("it", json.dumps(items))
    assert (problem is None) == unique


def test_unique_items_are_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch):
    """A schema in an old dialect and an answer with 2,000 items would take seconds that no limit ends."""
    compared = Mock(side_effect=AssertionError("jsonschema's quadratic check"))
    monkeypatch.setattr("jsonschema._keywords.uniq", compared)
    monkeypatch.setattr("jsonschema._legacy_keywords.uniq", compared, raising=False)
    items = [{"a": number} for number in range(2000)]
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "enum": items}
    assert Schema(draft4, "p").find_problem("it", '{"a": 3}') is None
    assert Schema({"uniqueItems": True}, "p").find_problem("it", json.dumps(items)) is None


def test_a_schema_of_many_levels_is_not_called_slow():
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(120):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(ApiError, match="too many levels") as refusal:
        Schema(schema, "response_format")
    assert refusal.value.param == "response_format"
