"""Describe the server's paths as an OpenAPI document, from which clients can be generated."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from server.files.purposes import UPLOADED
from server.protocol.adapter_fields import LoadAdapter, UnloadAdapter
from server.protocol.batch_fields import BatchFields
from server.protocol.upload_fields import CompletionFields, UploadFields
from server.services.scoring import ScoreBatchRequest, ScoreRequest
from server.services.tokens import Detokenize, TokenizeText

REF = "#/components/schemas/{model}"
JSON = "application/json"
OWN_REQUESTS = (
    ScoreRequest,
    ScoreBatchRequest,
    TokenizeText,
    Detokenize,
    BatchFields,
    UploadFields,
    CompletionFields,
    LoadAdapter,
    UnloadAdapter,
)
FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"enum": list(UPLOADED)}},
    "required": ["file", "purpose"],
}
PART = {
    "type": "object",
    "properties": {"data": {"type": "string", "format": "binary"}},
    "required": ["data"],
}
OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
ANTHROPIC_ERROR = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
        "request_id": {"type": "string"},
    },
}


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a path takes and returns, by the names of schemas; several requests are alternatives."""

    requests: tuple[str, ...]
    reply: str | None = None  # None for an object without a schema
    streams: bool = False


CHAT = Described(requests=("ChatCompletionRequest",), reply="ChatCompletionResponse", streams=True)
DESCRIBED = {
    "/v1/chat/completions": CHAT,
    "/v1/chat/completions/render": Described(requests=("ChatCompletionRequest",)),
    "/v1/completions": Described(requests=("CompletionRequest",), reply="CompletionResponse", streams=True),
    "/v1/responses": Described(requests=("ResponsesRequest",), reply="ResponsesResponse", streams=True),
    "/v1/messages": Described(
        requests=("AnthropicMessagesRequest",), reply="AnthropicMessagesResponse", streams=True
    ),
    "/v1/messages/count_tokens": Described(
        requests=("AnthropicCountTokensRequest",), reply="AnthropicCountTokensResponse"
    ),
    "/tokenize": Described(requests=("TokenizeText", "ChatCompletionRequest")),
    "/detokenize": Described(requests=("Detokenize",)),
    "/v1/critic/score": Described(requests=("ScoreRequest", "ScoreBatchRequest")),
    "/v1/batches": Described(requests=("BatchFields",)),
    "/v1/uploads": Described(requests=("UploadFields",)),
    "/v1/uploads/{upload_id}/complete": Described(requests=("CompletionFields",)),
    "/v1/load_lora_adapter": Described(requests=("LoadAdapter",)),
    "/v1/unload_lora_adapter": Described(requests=("UnloadAdapter",)),
}
FORMS = {"/v1/files": FORM, "/v1/uploads/{upload_id}/parts": PART}


def describe(app: FastAPI, engine_schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document of an app.

    Args:
        app: its routes give the paths, and their docstrings the descriptions.
        engine_schemas: the schemas of the requests and replies that the engine's types define; those that are
            missing, as where no policy runs, are described as objects.
    """
    document = get_openapi(
        title="internvl3-serving",
        version=version("internvl3-serving"),
        routes=app.routes,
        description="OpenAI's API and Anthropic's Messages API, with this server's own fields.",
    )
    _, own = models_json_schema([(kind, "validation") for kind in OWN_REQUESTS], ref_template=REF)
    schemas = {
        **own["$defs"],
        **engine_schemas,
        "OpenAIError": OPENAI_ERROR,
        "AnthropicError": ANTHROPIC_ERROR,
    }
    for path, operations in document["paths"].items():
        error = "AnthropicError" if path.startswith("/v1/messages") else "OpenAIError"
        for method, operation in operations.items():
            operation["responses"].pop("422", None)  # FastAPI adds it, and no route answers so
            operation["responses"]["default"] = _reply(f"An error, as {error[:-5]}'s API has it", error)
            if method == "post" and path in FORMS:
                operation["requestBody"] = _body("multipart/form-data", FORMS[path])
            elif method == "post" and path in DESCRIBED:
                _add(operation, DESCRIBED[path], schemas)
    document["components"] = {
        "schemas": schemas,
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        },
    }
    document["security"] = [{}, {"bearer": []}, {"x-api-key": []}]  # {} for a server without keys
    return document


def _add(operation: dict[str, Any], described: Described, schemas: Mapping[str, Any]) -> None:
    known = [{"$ref": REF.format(model=name)} for name in described.requests if name in schemas]
    operation["requestBody"] = _body(JSON, {"anyOf": known} if len(known) > 1 else (known or [{}])[0])
    if described.reply in schemas:
        operation["responses"]["200"] = _reply("The reply", described.reply)
    if described.streams:
        events = {"schema": {"type": "string", "description": "server-sent events, with `stream: true`"}}
        operation["responses"]["200"]["content"]["text/event-stream"] = events


def _body(media_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def _reply(description: str, name: str | None) -> dict[str, Any]:
    schema = {"$ref": REF.format(model=name)}
    return {"description": description, "content": {JSON: {"schema": schema}}}
