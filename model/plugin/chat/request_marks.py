"""The private marks of one request, and where they stand in its messages and in the template's arguments."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from model.image_tokens import IMAGE_CONTEXT, VIDEO_TEXT
from model.media_in_text import INLINE, media_modality, place_media

from .reserved_texts import ReservedTexts

PLACEHOLDERS = {"image": IMAGE_CONTEXT, "video": VIDEO_TEXT}
"""What stands for a medium where vLLM or nobody but us writes it."""

_BY_PARTS = ("content", "tool_calls")
_MEDIA_KEYS = ("image_url", "image_pil", "image_embeds", "video_url", "video_embeds", "uuid", INLINE)
_TEXTS = ("text", "refusal", "thinking")  # the keys of vLLM's text parts


@dataclass(frozen=True)
class RequestMarks:
    """The marks of one request: random digits, which no client can guess and no template changes.

    `text` stands in what the client wrote (see `ReservedTexts`). `edge` stands on both sides of a medium
    within a text. What the template writes between two edges becomes the medium alone.
    """

    text: str
    edge: str

    @classmethod
    def draw(cls) -> "RequestMarks":
        digits = f"{secrets.randbelow(10**24):024}"
        return cls(text=f"{digits}0", edge=f"{digits}1")

    def stand_in(self, value: str) -> bool:
        """Return whether a text holds a mark."""
        return self.text in value or self.edge in value

    def slot(self, modality: str) -> str:
        """Return the text that stands for an image or a video once the template was applied."""
        return f"{self.edge}{modality}"

    def add(self, value: Any, reserved: ReservedTexts) -> Any:
        """Return JSON of a client with a mark in every reserved text, in keys too."""
        if isinstance(value, str):
            return reserved.mark(value, self.text)
        if isinstance(value, Mapping):
            return {self.add(key, reserved): self.add(inner, reserved) for key, inner in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, bytes):
            return [self.add(inner, reserved) for inner in value]
        return value

    def remove(self, value: Any) -> Any:
        """Return JSON without the marks."""
        if isinstance(value, str):
            return value.replace(self.text, "").replace(self.edge, "")
        if isinstance(value, Mapping):
            return {self.remove(key): self.remove(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.remove(inner) for inner in value]
        return value

    def add_to_message(
        self, message: Mapping[str, Any], reserved: ReservedTexts, content_format: Literal["openai", "string"]
    ) -> dict[str, Any]:
        """Return an OpenAI message with marks in all its texts, and with its media where they stand.

        Args:
            message: the message.
            reserved: what only the template may write.
            content_format: vLLM's name for what the template takes: a list of parts, or one string. For the
                latter the texts and placeholders of a message with media become one text.
        """
        marked = {key: self.add(value, reserved) for key, value in message.items() if key not in _BY_PARTS}
        if (calls := message.get("tool_calls")) is not None:
            marked["tool_calls"] = self.add([_with_parsed_arguments(call) for call in calls], reserved)
        content = message.get("content")
        if content is None or isinstance(content, str):
            return {**marked, "content": self.add(content, reserved)}
        parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
        parts = [
            {key: value if key in _MEDIA_KEYS else self.add(value, reserved) for key, value in part.items()}
            for part in place_media(parts)
        ]
        if not any(media_modality(part) for part in parts):
            return {**marked, "content": parts}
        if content_format == "string":
            return {**marked, "content": self._as_one_text(parts)}
        return {**marked, "content": self._with_edges(parts)}

    def _with_edges(self, parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the parts with an edge on both sides of each inline medium, in the texts beside it."""
        edged: list[Any] = [dict(part) for part in parts]
        for before, medium, after in zip(edged, edged[1:], edged[2:], strict=False):
            if medium.get(INLINE):
                before["text"] += self.edge
                after["text"] = self.edge + after["text"]
        return edged

    def _as_one_text(self, parts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return one text of all parts, and the media parts, which vLLM then finds named in the text.

        As vLLM does it, a line break joins the parts, but there is none around an inline medium.
        """
        lines: list[str] = []
        after_inline = False
        for part in parts:
            modality = media_modality(part)
            if modality is None:
                text = next((part[key] for key in _TEXTS if isinstance(part.get(key), str)), "")
                lines.append((lines.pop() if after_inline else "") + text)
            elif part[INLINE]:
                lines[-1] += self.edge + PLACEHOLDERS[modality] + self.edge
            else:
                lines.append(PLACEHOLDERS[modality])
            after_inline = bool(part.get(INLINE))
        media = [part for part in parts if media_modality(part)]
        return [{"type": "text", "text": "\n".join(lines)}, *media]


def _with_parsed_arguments(call: Any) -> Any:
    """Return a tool call whose arguments are JSON and no text, because escapes may hide a reserved text."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": arguments}}
