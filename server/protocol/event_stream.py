"""Read and write the server-sent events of a streamed reply."""

import json
from collections.abc import Mapping
from typing import Any

PREFIX = "data: "
DONE = f"{PREFIX}[DONE]\n\n"  # the last event of a stream, as OpenAI's API ends it
ERROR_STARTS = (f'{PREFIX}{{"error"', "event: error\n")  # the second one in APIs whose events have names


def is_error(event: str) -> bool:
    """Return whether an event holds an error; vLLM writes its own as OpenAI's chat API does."""
    return event.startswith(ERROR_STARTS)


def is_comment(event: str) -> bool:
    """Return whether an event is a comment, which clients skip."""
    return event.startswith(":")


def read_event(event: str) -> dict[str, Any]:
    """Return the JSON object that an event holds. `DONE` holds none, so it must not be given."""
    body: dict[str, Any] = json.loads(event.removeprefix(PREFIX))
    return body


def write_event(body: Mapping[str, Any]) -> str:
    """Return the event that holds a JSON object, without spaces around its commas and colons."""
    return f"{PREFIX}{json.dumps(body, separators=(',', ':'))}\n\n"


def write_named_event(name: str, body: Mapping[str, Any]) -> str:
    """Return an event with a name, as the APIs have it whose streams hold several kinds of events."""
    return f"event: {name}\n{write_event(body)}"
