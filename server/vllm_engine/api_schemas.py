"""The JSON schemas of requests and replies, by vLLM's types and with this server's own fields."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from vllm.entrypoints.anthropic.protocol import (
    AnthropicCountTokensRequest,
    AnthropicCountTokensResponse,
    AnthropicMessagesRequest,
    AnthropicMessagesResponse,
)
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatCompletionStreamResponse,
)
from vllm.entrypoints.openai.completion.protocol import (
    CompletionRequest,
    CompletionResponse,
    CompletionStreamResponse,
)
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest, ResponsesResponse

from server.protocol import chat_call, completion_call, message_fields, response_fields
from server.protocol.engine_fields import CHAT
from server.protocol.reply_fields import ScalingReport, VisionReport
from server.protocol.request_fields import ChatFields
from server.protocol.vision_options import VISION_FIELDS

Mode = Literal["validation", "serialization"]
REF = "#/components/schemas/{model}"
REQUESTS: Mapping[type[BaseModel], Iterable[str]] = {  # with the fields that are answered
    ChatCompletionRequest: CHAT.passed | set(chat_call.OUR_FIELDS),
    CompletionRequest: completion_call.FIELDS.passed,
    ResponsesRequest: response_fields.RULES.passed | set(response_fields.OUR_FIELDS),
    AnthropicMessagesRequest: message_fields.RULES.passed | set(VISION_FIELDS),
    AnthropicCountTokensRequest: message_fields.RULES.passed | set(VISION_FIELDS),
}
REPLIES: Mapping[type[BaseModel], Iterable[str]] = {  # with the fields that this server adds
    ChatCompletionResponse: ("vision", "test_time_scaling"),
    ChatCompletionStreamResponse: ("vision", "test_time_scaling"),
    CompletionResponse: (),
    CompletionStreamResponse: (),
    ResponsesResponse: ("vision", "test_time_scaling"),
    AnthropicMessagesResponse: ("vision",),
    AnthropicCountTokensResponse: (),
}
ADDED = {"vision": "VisionReport", "test_time_scaling": "ScalingReport"}
TOKENS = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}
TEXT = {"type": "string", "minLength": 1}
PROMPT = {
    "description": "A text, a list of token ids, or a list of one of these.",
    "anyOf": [
        TEXT,
        TOKENS,
        {"type": "array", "minItems": 1, "items": TEXT},
        {"type": "array", "minItems": 1, "items": TOKENS},
    ],
}
GIVEN_BY_HEADER = "request_id"  # X-Request-Id chooses it
# The types are ours: vLLM's list thirty kinds of items, most of which are refused.
INPUT = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": "object", "additionalProperties": True}},
    ]
}
DELTA = {
    "description": "V2PE's delta: by how much a visual token moves the position.",
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"const": "auto"},
        {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}},
        {"type": "null"},
    ],
}


def api_schemas() -> dict[str, Any]:
    """Return the schemas by name, as an OpenAPI document holds them under `components`.

    A request's schema has the fields that are answered, and none that is refused or has no effect.
    """
    read: list[type[BaseModel]] = [*REQUESTS, ChatFields]
    written: list[type[BaseModel]] = [*REPLIES, ScalingReport, VisionReport]
    kinds: list[tuple[type[BaseModel], Mode]] = [(kind, "validation") for kind in read]
    kinds += [(kind, "serialization") for kind in written]
    _, top = models_json_schema(kinds, ref_template=REF)
    schemas: dict[str, Any] = top["$defs"]
    fields = schemas.pop("ChatFields")["properties"] | {"v2pe_delta": DELTA}
    ours = {name: fields[name] for name in (*chat_call.OUR_FIELDS, "mm_processor_kwargs")}
    for kind, answered in REQUESTS.items():
        _restrict(schemas[kind.__name__], set(answered) - {GIVEN_BY_HEADER}, ours)
    schemas["ResponsesRequest"]["properties"]["input"] = INPUT
    schemas["CompletionRequest"]["properties"]["prompt"] = PROMPT
    schemas["CompletionRequest"]["required"] = ["prompt"]  # vLLM also takes embeddings instead
    schemas["VisionFields"]["properties"]["v2pe_delta"] = DELTA
    for kind, names in REPLIES.items():
        for name in names:
            optional = {"anyOf": [{"$ref": REF.format(model=ADDED[name])}, {"type": "null"}]}
            schemas[kind.__name__]["properties"][name] = optional
    return _used(schemas, [kind.__name__ for kind in (*REQUESTS, *REPLIES)])


def _restrict(schema: dict[str, Any], answered: set[str], ours: Mapping[str, Any]) -> None:
    """Leave only the answered fields in a request's schema. Ours replace vLLM's of the same name."""
    fields = {**schema["properties"], **{name: ours[name] for name in answered & ours.keys()}}
    schema["properties"] = {name: field for name, field in fields.items() if name in answered}
    if "required" in schema:
        schema["required"] = [name for name in schema["required"] if name in answered]


def _used(schemas: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the schemas with these names and all that they refer to."""
    used: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in used:
            used[name] = schemas[name]
            waiting += _references(schemas[name])
    return dict(sorted(used.items()))


def _references(schema: Any) -> list[str]:
    """Return the names that a schema refers to."""
    if isinstance(schema, list):
        return [name for part in schema for name in _references(part)]
    if not isinstance(schema, Mapping):
        return []
    own = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for part in schema.values() for name in _references(part)]
