"""Which candidates are well-formed: tool calls that can be made, answers in the format that was asked for.

Schemas come from clients, and answers from a model that they steer. So checking one against the other has a
deadline, reads no other documents, and leaves regular expressions (`pattern` and its like) to the grammar
that vLLM enforces while it generates.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from server.errors import ApiError

SECONDS = (
    1.0  # of this thread, for all checks against one schema of a request; an honest one takes milliseconds
)
BY_PATTERN = ("pattern", "patternProperties", "unevaluatedProperties")
OBJECT = {"type": "object"}
CUT_OFF = "it was cut off at max_tokens"
Keyword = Callable[[Any, Any, Any, Any], Any]  # jsonschema's: validator, value, instance, schema -> errors


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One tool call of an answer, as the tool parser read it; `arguments` is JSON, if the model wrote any."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class ParsedAnswer:
    """An answer as its client will see it. `broken`: it begins a tool call that can't be read."""

    content: str
    calls: Sequence[ToolCall] = ()
    broken: bool = False


# An answer's text and token ids, read by the parsers that write the reply.
ParseAnswer = Callable[[str, Sequence[int]], ParsedAnswer]


class Validation:
    """What a request demands of every answer: calls of its tools, and its response format."""

    def __init__(self, body: Mapping[str, Any], read: ParseAnswer) -> None:
        """`body`: a valid chat request. Raises ApiError for what is no JSON schema."""
        tools = [tool["function"] for tool in body.get("tools") or ()]
        self._read = read
        self._choice = body.get("tool_choice") or ("auto" if tools else "none")
        self._parameters = {
            tool["name"]: Schema(tool.get("parameters") or OBJECT, f"tools[{place}].function.parameters")
            for place, tool in enumerate(tools)
        }
        wanted = body.get("response_format") or {}
        self._format: Schema | None = None
        if wanted.get("type") == "json_object":
            self._format = Schema(OBJECT, "response_format")
        elif wanted.get("type") == "json_schema":
            schema = wanted["json_schema"].get("schema") or {}
            self._format = Schema(schema, "response_format.json_schema.schema")
        self._grammar = body.get("structured_outputs") is not None or wanted.get("type") == "structural_tag"

    def find_problem(self, text: str, token_ids: Sequence[int], finish_reason: str) -> str | None:
        """Why an answer is not valid, None if it is."""
        free = self._choice == "none" and self._format is None
        found = None if free else self._find_problem(self._read(text, token_ids))
        cut = finish_reason == "length"
        if found is None:
            return CUT_OFF if cut and self._grammar else None
        return f"{CUT_OFF}: {found}" if cut else found

    def _find_problem(self, reading: ParsedAnswer) -> str | None:
        if self._choice != "none":
            if reading.calls:
                complaints = (self._of_call(call) for call in reading.calls)
                return next((found for found in complaints if found is not None), None)
            if reading.broken:
                return "its tool call can't be read"
            if self._choice != "auto":
                return "it calls no tool"
        return None if self._format is None else self._format.find_problem("it", reading.content)

    def _of_call(self, call: ToolCall) -> str | None:
        named = self._choice["function"]["name"] if isinstance(self._choice, Mapping) else call.name
        if call.name != named or call.name not in self._parameters:
            return f"it calls {call.name[:64]!r}, which is no tool of the request"
        return self._parameters[call.name].find_problem(f"its call of {call.name[:64]!r}", call.arguments)


class Schema:
    """One JSON schema of a request."""

    def __init__(self, schema: Any, param: str) -> None:
        """`param`: where the request has it. Raises ApiError if it is no JSON schema."""
        named = isinstance(schema, Mapping) and isinstance(schema.get("$schema"), str)
        dialect = validators.validator_for(schema if named else True, default=Draft202012Validator)
        self._seconds = SECONDS
        self._until = 0.0
        try:
            fault = self._first_error(self._validator_of(dialect, dialect.META_SCHEMA), schema)
        except (_TooSlow, RecursionError):
            raise ApiError(f"{param} takes too long to be checked; simplify it.", param=param) from None
        if fault is not None:
            raise ApiError(f"{param} is no JSON schema: {fault.message[:200]}.", param=param)
        self._validator = self._validator_of(dialect, schema)

    def find_problem(self, what: str, text: str) -> str | None:
        """Why a text (`what`, in the complaint) is not JSON of this schema, None if it is."""
        try:
            error = self._first_error(self._validator, json.loads(text, parse_constant=_no_json))
        except ValueError:
            return f"{what} is not JSON"
        except (_TooSlow, RecursionError):
            return f"{what} takes too long to be checked"
        except Unresolvable:
            return f"{what} can't be checked: the schema refers to something outside itself"
        if error is None:
            return None
        return f"{what} breaks the schema's {error.validator} at {error.json_path[:100]}"

    def _first_error(self, validator: Validator, instance: Any) -> ValidationError | None:
        begun = time.thread_time()
        self._until = begun + self._seconds
        try:
            return next(validator.iter_errors(instance), None)
        finally:
            self._seconds -= time.thread_time() - begun

    def _validator_of(self, dialect: type[Validator], schema: Any) -> Validator:
        keywords = {name: self._timed(check) for name, check in dialect.VALIDATORS.items()}
        keywords |= dict.fromkeys(BY_PATTERN, _unchecked)
        keywords["additionalProperties"] = self._timed(_additional_properties)
        return validators.extend(dialect, keywords)(schema, registry=Registry())

    def _timed(self, check: Keyword) -> Keyword:
        """The check of a keyword, refused once the time is over: references to themselves let a schema of a
        hundred bytes ask for more checks than can ever be made.
        """

        def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
            if time.thread_time() > self._until:
                raise _TooSlow
            return check(validator, value, instance, schema) or ()

        return keyword


class _TooSlow(Exception):
    pass


def _additional_properties(
    validator: Any, value: Any, instance: Any, schema: Any
) -> Iterable[ValidationError]:
    """Left alone where patterns say which names are additional."""
    if "patternProperties" in schema:
        return ()
    check: Keyword = Draft202012Validator.VALIDATORS["additionalProperties"]
    return check(validator, value, instance, schema)


def _unchecked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError]:
    return ()


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
