"""Write an error as the API has it whose path was asked: OpenAI's or Anthropic's."""

from collections.abc import Mapping
from typing import Any

from server.errors import ApiError

from .event_stream import DONE, write_event, write_named_event

MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
# Anthropic's clients tell errors by these types (https://docs.anthropic.com/en/api/errors).
MESSAGE_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
SERVER_ERRORS = 500


def error_content(error: ApiError, path: str, request_id: str | None = None) -> Mapping[str, Any]:
    """Return the body of a reply to a request to `path` that failed."""
    return message_error(error, request_id) if _is_messages(path) else error.body


def error_events(error: ApiError, path: str) -> str:
    """Return the events that end a stream of `path` with an error."""
    if _is_messages(path):
        return write_named_event("error", message_error(error))
    if path == RESPONSES:
        return write_named_event("error", response_error(error))
    return write_event(error.body) + DONE


def message_error(error: ApiError, request_id: str | None = None) -> Mapping[str, Any]:
    """Return Anthropic's error body, whose message names the wrong field, as it has no field for that."""
    other = "api_error" if error.status >= SERVER_ERRORS else "invalid_request_error"
    message = error.message
    if error.param is not None and error.param not in message:
        message = f"{error.param}: {message}"
    body = {"type": "error", "error": {"type": MESSAGE_TYPES.get(error.status, other), "message": message}}
    return body if request_id is None else {**body, "request_id": request_id}


def response_error(error: ApiError) -> Mapping[str, Any]:
    """Return the body of the event `error` of the Responses API.

    OpenAI documents its fields at the top level, and in its real streams they stand under `error`. Its
    clients raise the second form and show the first one to the program.
    """
    body = error.body["error"]
    return {"type": "error", **{name: body[name] for name in ("code", "message", "param")}, "error": body}


def _is_messages(path: str) -> bool:
    return path == MESSAGES or path.startswith(f"{MESSAGES}/")
