"""Records of InternVL's conversations.

Each line is `{"image"?, "video"?, "conversations": [{"from", "value"}, ...]}`. Source: OpenGVLab/InternVL,
`internvl_chat/internvl/train/internvl_chat_finetune.py`, and its guide to chat data formats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .bad_records import RecordError
from .fields import list_field, media_fields, media_json, other_fields

Role = Literal["system", "user", "assistant"]

_ROLES: Mapping[str, Role] = {"system": "system", "human": "user", "gpt": "assistant"}
_NAMES = {role: name for name, role in _ROLES.items()}


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True, kw_only=True)
class ChatRecord:
    """A conversation about images, one video, or neither; `extra` holds all other keys.

    `<image>` and `<video>` in the users' turns are the slots of the media.
    """

    turns: tuple[Turn, ...]
    images: tuple[str, ...] = ()
    video: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def parse_chat(data: Mapping[str, Any]) -> ChatRecord:
    """Return the record of a JSON object.

    Raises:
        RecordError: the object doesn't have the published form, or no 'gpt' turn has a text.
    """
    turns = tuple(_turn(entry) for entry in list_field(data, "conversations"))
    if any(turn.role == "system" for turn in turns[1:]):
        raise RecordError("a 'system' turn comes after another turn: it can only be the first")
    if not any(turn.role == "assistant" and turn.text.strip() for turn in turns):
        raise RecordError("no 'gpt' turn has a text: add one, because training learns from it")
    images, video = media_fields(data)
    return ChatRecord(
        turns=turns,
        images=images,
        video=video,
        extra=other_fields(data, ("conversations", "image", "video")),
    )


def chat_json(record: ChatRecord) -> dict[str, Any]:
    """Return the JSON object of a record: the inverse of `parse_chat`."""
    turns = [{"from": _NAMES[turn.role], "value": turn.text} for turn in record.turns]
    return {**record.extra, **media_json(record.images, record.video), "conversations": turns}


def _turn(entry: Any) -> Turn:
    role = _ROLES.get(str(entry.get("from"))) if isinstance(entry, Mapping) else None
    text = entry.get("value") if role else None
    if role is None or not isinstance(text, str):
        raise RecordError(
            f'a turn is {str(entry)[:80]!r}: write {{"from": "system" | "human" | "gpt", "value": text}}'
        )
    return Turn(role, text)
