"""Check that a candidate's tool calls and format are valid for the request.

Clients send the schemas, and they steer the model that writes the answers. So a check has a time limit and
loads no other documents. Regular expressions (`pattern` and similar keywords) are not checked here, because
vLLM's grammar enforces them during generation.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from server.errors import TOO_COMPLEX, ApiError

SECONDS = 0.5  # CPU time for all checks of one request; a usual schema takes milliseconds
BY_PATTERN = ("pattern", "patternProperties", "unevaluatedProperties")
OBJECT = {"type": "object"}
CUT_OFF = "it was cut off at max_tokens"
# The signature of jsonschema's checks: validator, value, instance, schema -> errors
Keyword = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A tool call as the tool parser read it. `arguments` is JSON if the model has written valid JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class ParsedAnswer:
    """An answer as the client will see it. `broken` is true if it begins a tool call that can't be read."""

    content: str
    calls: Sequence[ToolCall] = ()
    broken: bool = False


# Parses an answer's text and token ids with the parsers that vLLM uses for the reply.
ParseAnswer = Callable[[str, Sequence[int]], ParsedAnswer]


class Validation:
    """The rules of one request for every answer: its tools and its response format."""

    def __init__(self, body: Mapping[str, Any], read: ParseAnswer) -> None:
        """Read the rules from a valid chat request. Raise ApiError if a schema in it is no JSON schema."""
        tools = [tool["function"] for tool in body.get("tools") or ()]
        limit = TimeLimit(SECONDS)
        self._read = read
        self._choice = body.get("tool_choice") or ("auto" if tools else "none")
        self._parameters = {
            tool["name"]: Schema(
                tool.get("parameters") or OBJECT, f"tools[{index}].function.parameters", limit
            )
            for index, tool in enumerate(tools)
            if self._choice != "none"
        }
        response_format = body.get("response_format") or {}
        self._format: Schema | None = None
        if response_format.get("type") == "json_object":
            self._format = Schema(OBJECT, "response_format", limit)
        elif response_format.get("type") == "json_schema":
            schema = response_format["json_schema"].get("schema") or {}
            self._format = Schema(schema, "response_format.json_schema.schema", limit)
        self._grammar = (
            body.get("structured_outputs") is not None or response_format.get("type") == "structural_tag"
        )

    def find_problem(self, text: str, token_ids: Sequence[int], finish_reason: str) -> str | None:
        """Return why an answer is not valid, or None if it is valid."""
        no_rules = self._choice == "none" and self._format is None
        problem = None if no_rules else self._problem_of_answer(self._read(text, token_ids))
        cut_off = finish_reason == "length"
        if problem is None:
            return CUT_OFF if cut_off and self._grammar else None
        return f"{CUT_OFF}: {problem}" if cut_off else problem

    def _problem_of_answer(self, answer: ParsedAnswer) -> str | None:
        if self._choice != "none":
            if answer.calls:
                problems = (self._problem_of_call(call) for call in answer.calls)
                return next((problem for problem in problems if problem is not None), None)
            if answer.broken:
                return "its tool call can't be read"
            if self._choice != "auto":
                return "it calls no tool"
        return None if self._format is None else self._format.find_problem("it", answer.content)

    def _problem_of_call(self, call: ToolCall) -> str | None:
        demanded = self._choice["function"]["name"] if isinstance(self._choice, Mapping) else call.name
        if call.name != demanded or call.name not in self._parameters:
            return f"it calls {call.name[:64]!r}, which is no tool of the request"
        return self._parameters[call.name].find_problem(f"its call of {call.name[:64]!r}", call.arguments)


class TimeLimit:
    """CPU time that the checks of one request may take, whichever threads they run in."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a block; `check` raises in it once no time is left."""
        begun = time.thread_time()
        self._until = begun + self._seconds
        try:
            yield
        finally:
            self._seconds -= time.thread_time() - begun

    def check(self) -> None:
        if time.thread_time() > self._until:
            raise _TooSlow


class Schema:
    """One JSON schema of a request, with a time limit that it may share with other schemas."""

    def __init__(self, schema: Any, param: str, limit: TimeLimit | None = None) -> None:
        """Raise ApiError (400) with `param`, the schema's field in the request, if the schema is invalid."""
        names_dialect = isinstance(schema, Mapping) and isinstance(schema.get("$schema"), str)
        dialect = validators.validator_for(schema if names_dialect else True, default=Draft202012Validator)
        self._limit = limit or TimeLimit(SECONDS)
        try:
            error = self._first_error(self._validator_of(dialect, dialect.META_SCHEMA), schema)
        except _TooSlow:
            raise ApiError(
                f"{param} takes too long to be checked. Simplify it.", param=param, code=TOO_COMPLEX
            ) from None
        except RecursionError:
            raise ApiError(
                f"{param} has too many levels for a check of every candidate. Send a flatter one.",
                param=param,
                code=TOO_COMPLEX,
            ) from None
        if error is not None:
            raise ApiError(f"{param} is no JSON schema: {error.message[:200]}. Correct it.", param=param)
        self._validator = self._validator_of(dialect, schema)

    def find_problem(self, subject: str, text: str) -> str | None:
        """Return why a text is not JSON of this schema, or None. The reason begins with `subject`."""
        try:
            error = self._first_error(self._validator, json.loads(text, parse_constant=_no_json))
        except ValueError:
            return f"{subject} is not JSON"
        except _TooSlow:
            return f"{subject} takes too long to be checked"
        except RecursionError:
            return f"{subject} has too many levels to be checked"
        except Unresolvable:
            return f"{subject} can't be checked, because the schema refers to another document"
        if error is None:
            return None
        return f"{subject} breaks the schema's {error.validator} at {error.json_path[:100]}"

    def _first_error(self, validator: Validator, instance: Any) -> ValidationError | None:
        with self._limit.running():
            return next(validator.iter_errors(instance), None)

    def _validator_of(self, dialect: type[Validator], schema: Any) -> Validator:
        keywords = {name: self._timed(check) for name, check in dialect.VALIDATORS.items()}
        keywords |= dict.fromkeys(BY_PATTERN, _unchecked)
        keywords["additionalProperties"] = self._timed(_additional_properties)
        keywords["uniqueItems"] = self._timed(_unique_items)
        return validators.extend(dialect, keywords)(schema, registry=Registry())

    def _timed(self, check: Keyword) -> Keyword:
        """Return the check of a keyword with the time limit. It raises _TooSlow once the time is over.

        A schema of a hundred bytes that refers to itself can demand more checks than can ever be finished.
        """

        def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
            self._limit.check()
            return check(validator, value, instance, schema) or ()

        return keyword


class _TooSlow(Exception):
    pass


def _additional_properties(
    validator: Any, value: Any, instance: Any, schema: Any
) -> Iterable[ValidationError]:
    """Check additional properties, except if `patternProperties` decides which names are additional."""
    if "patternProperties" in schema:
        return ()
    check: Keyword = Draft202012Validator.VALIDATORS["additionalProperties"]
    return check(validator, value, instance, schema)


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
    """Check `uniqueItems` in linear time; jsonschema compares each item with every other one."""
    if value and validator.is_type(instance, "array"):
        # As texts, because numbers can be chosen so that all their hashes are equal.
        different = {json.dumps(_canonical(item), sort_keys=True) for item in instance}
        if len(different) < len(instance):
            yield ValidationError("the items are not unique")


def _canonical(value: Any) -> Any:
    """Return the value with its whole numbers as integers, because 1 and 1.0 are equal in a JSON schema."""
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _unchecked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
    return ()


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
