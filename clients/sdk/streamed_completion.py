"""Add up the chunks of a stream to the completion that would have come without streaming."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .completions import Completion
from .event_stream import Chunk


@dataclass
class _Choice:
    """One of the answers of a stream, as far as it has come."""

    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": ""})
    tool_calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: dict[str, list[Any]] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, choice: Mapping[str, Any]) -> str:
        """Add a chunk's piece of this answer, and return the text in it."""
        delta = choice.get("delta") or {}
        for name, value in delta.items():
            if name == "tool_calls":
                for call in value or ():
                    self._add_call(call)
            elif name != "role" and isinstance(value, str):
                self.message[name] = (self.message.get(name) or "") + value
        for name, entries in (choice.get("logprobs") or {}).items():
            if isinstance(entries, list):
                self.logprobs.setdefault(name, []).extend(entries)
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        return delta.get("content") or ""

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        """Add a piece of a tool call. Its first piece has id and name, and the others have arguments."""
        call = self.tool_calls.setdefault(
            int(piece.get("index") or 0), {"type": "function", "function": {"name": "", "arguments": ""}}
        )
        if piece.get("id"):
            call["id"] = piece["id"]
        for name, value in (piece.get("function") or {}).items():
            if isinstance(value, str):
                call["function"][name] = call["function"].get(name, "") + value

    def finished(self, index: int) -> dict[str, Any]:
        """Return the choice as a reply without streaming has it."""
        message = dict(self.message)
        if self.tool_calls:
            message["tool_calls"] = [self.tool_calls[number] for number in sorted(self.tool_calls)]
            message["content"] = message["content"] or None
        choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": self.finish_reason}
        return choice | ({"logprobs": self.logprobs} if self.logprobs else {})


@dataclass
class StreamedCompletion:
    """Adds up the chunks of all choices to the completion that would have come without streaming."""

    _choices: dict[int, _Choice] = field(default_factory=dict)
    _fields: dict[str, Any] = field(default_factory=dict)

    def add(self, chunk: Chunk) -> str:
        """Add a chunk; return the text that it adds to the first answer."""
        self._fields |= {
            key: value for key, value in chunk.body.items() if value is not None and key != "choices"
        }
        text = ""
        for choice in chunk.body.get("choices") or ():
            index = int(choice.get("index") or 0)
            piece = self._choices.setdefault(index, _Choice()).add(choice)
            text += piece if index == 0 else ""
        return text

    def completion(self) -> Completion:
        """Return the completion of all chunks so far. Raises pydantic's ValidationError."""
        choices = self._choices or {0: _Choice()}
        finished = [choices[index].finished(index) for index in sorted(choices)]
        return Completion.model_validate({**self._fields, "object": "chat.completion", "choices": finished})
