"""Read and write the server-sent events of a streamed reply."""

import json
from collections.abc import Mapping
from typing import Any

PREFIX = "data: "
DONE = f"{PREFIX}[DONE]\n\n"  # the last event of a stream, as OpenAI's API ends it
ERROR_START = f'{PREFIX}{{"error"'


def is_error(event: str) -> bool:
    """Return whether an event holds OpenAI's error object; vLLM writes its own so, too."""
    return event.startswith(ERROR_START)


def read_event(event: str) -> dict[str, Any]:
    """Return the JSON object that an event holds. `DONE` holds none, so it must not be given."""
    body: dict[str, Any] = json.loads(event.removeprefix(PREFIX))
    return body


def write_event(body: Mapping[str, Any]) -> str:
    """Return the event that holds a JSON object, without spaces around its commas and colons."""
    return f"{PREFIX}{json.dumps(body, separators=(',', ':'))}\n\n"
