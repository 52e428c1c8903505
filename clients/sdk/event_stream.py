"""Read the server-sent events of a streamed chat completion."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import ServerUnreachable, api_error

LINE_END = re.compile(rb"\r\n|\n|\r")
DONE = "[DONE]"


@dataclass(frozen=True)
class Comment:
    """A comment of the stream. The server sends the progress of candidates in comments."""

    text: str


@dataclass(frozen=True)
class Chunk:
    """One `chat.completion.chunk` object."""

    body: dict[str, Any]


class Lines:
    """Cuts the bytes of a stream into lines, as they arrive.

    Only line feeds and carriage returns end a line of an event stream. `str.splitlines` would also cut at
    characters that stand in answers, such as U+2028.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """Yield the lines that a piece completes."""
        *lines, self._rest = LINE_END.split(self._rest + piece)
        for line in lines:
            yield line.decode(errors="replace")

    def end(self) -> Iterator[str]:
        """Yield what stands behind the last line end."""
        if self._rest:
            yield self._rest.decode(errors="replace")


@dataclass
class EventReader:
    """Reads the pieces of one stream, and notes whether it came to its end."""

    _lines: Lines = field(default_factory=Lines)
    _is_finished: bool = False

    def feed(self, piece: bytes) -> Iterator[Comment | Chunk]:
        """Yield the comments and chunks that a piece completes. Raises ApiError for an error event."""
        yield from self._events(self._lines.feed(piece))

    def end(self) -> Iterator[Comment | Chunk]:
        """Yield the rest. Raises ServerUnreachable if the stream ended before its answer did."""
        yield from self._events(self._lines.end())
        if not self._is_finished:
            raise ServerUnreachable("the stream ended before the answer did; send the request again")

    def _events(self, lines: Iterable[str]) -> Iterator[Comment | Chunk]:
        for line in lines:
            event = event_of(line)
            if event is not None:
                self._is_finished |= isinstance(event, Chunk) and _is_last(event)
                yield event
            self._is_finished |= line.removeprefix("data:").strip() == DONE


def events(lines: Iterable[str]) -> Iterator[Comment | Chunk]:
    """Yield the comments and chunks in the lines of a stream. Raises ApiError for an error event."""
    for line in lines:
        event = event_of(line)
        if event is not None:
            yield event


def event_of(line: str) -> Comment | Chunk | None:
    """Return the comment or chunk in a line, or None. Raises ApiError for an error event.

    OpenAI's streams put each object on one `data:` line, so every line can be read by itself.
    """
    if line.startswith(":"):
        return Comment(line[1:].strip())
    value = line.removeprefix("data:").strip()
    if not line.startswith("data:") or value == DONE:
        return None
    body = json.loads(value)
    if not isinstance(body, dict):
        raise json.JSONDecodeError("a chunk is no object", value, 0)
    if body.get("error"):
        raise api_error(200, value)
    return Chunk(body)


def _is_last(chunk: Chunk) -> bool:
    choices = chunk.body.get("choices") or ()
    return any(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)
