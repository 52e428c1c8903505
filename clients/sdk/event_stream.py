"""Read the server-sent events of a streamed chat completion, and add them up to the completion."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .completions import Completion
from .errors import api_error


@dataclass(frozen=True)
class Comment:
    """A comment of the stream. The server sends the progress of candidates in comments."""

    text: str


@dataclass(frozen=True)
class Chunk:
    """One `chat.completion.chunk` object."""

    body: dict[str, Any]


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
    if not line.startswith("data:") or value == "[DONE]":
        return None
    body = json.loads(value)
    if "error" in body:
        raise api_error(200, value)
    return Chunk(body)


@dataclass
class StreamedCompletion:
    """Adds up the chunks of one choice to the completion that would have come without streaming."""

    _text: list[str] = field(default_factory=list)
    _fields: dict[str, Any] = field(default_factory=dict)
    _finish_reason: str | None = None

    def add(self, chunk: Chunk) -> str:
        """Add a chunk; return the text that it adds to the answer."""
        self._fields |= {
            key: value for key, value in chunk.body.items() if value is not None and key != "choices"
        }
        text = ""
        for choice in chunk.body.get("choices") or ():
            text += (choice.get("delta") or {}).get("content") or ""
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        self._text.append(text)
        return text

    def completion(self) -> Completion:
        """Return the completion of all chunks so far."""
        message = {"role": "assistant", "content": "".join(self._text)}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return Completion.model_validate({**self._fields, "object": "chat.completion", "choices": [choice]})
