"""TODO: what this file is about."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.errors import ApiError
from server.request_media import HANDLE

Message = Mapping[str, Any]
TEXT_PARTS = ("text", "refusal")
MEDIA_PARTS = ("image_url", "video_url")


@dataclass(frozen=True, kw_only=True)
class MediaPart:
    """Where an image or video stands: messages[message].content[part]."""

    message: int
    part: int
    kind: str  # one of MEDIA_PARTS
    url: str

    @property
    def param(self) -> str:
        return f"messages[{self.message}].content[{self.part}].{self.kind}"


def _url(part: Mapping[str, Any], kind: str, param: str) -> str:
    held = part.get(kind)
    url = held.get("url") if isinstance(held, dict) else held
    if not isinstance(url, str):
        raise ApiError(f"{param}.{kind}.url must be a string.", param=f"{param}.{kind}")
    return url


def image_part(data: bytes, media_type: str) -> Mapping[str, Any]:
    """The part as vLLM reads it. The uuid is its cache key; a client's own could stand for another client's
    image.
    """
    url = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}, "uuid": hashlib.sha256(data).hexdigest()}


def video_part(handle: str) -> Mapping[str, Any]:
    return {"type": "video_url", "video_url": {"url": handle}, "uuid": handle.removeprefix(HANDLE)}


def with_parts(index: int, message: Message, parts: Mapping[tuple[int, int], Mapping[str, Any]]) -> Message:
    """The message with its checked parts; of text parts only the text stays (no field smuggles media past
    the check).
    """
    content = message.get("content")
    if not isinstance(content, list):
        return message
    checked = [
        parts.get((index, number)) or {"type": part["type"], part["type"]: part[part["type"]]}
        for number, part in enumerate(content)
    ]
    return {**message, "content": checked}


def find_media_parts(index: int, message: Message) -> list[MediaPart]:
    """The media of one message; refuses every part that is neither text nor an image or video by URL."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return []
    if not isinstance(content, list):
        raise ApiError(
            "A message's content must be a string or a list of parts.", param=f"messages[{index}].content"
        )
    media_parts: list[MediaPart] = []
    for number, part in enumerate(content):
        param = f"messages[{index}].content[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in TEXT_PARTS:
            if not isinstance(part.get(kind), str):
                raise ApiError(f"{param}.{kind} must be a string.", param=f"{param}.{kind}")
        elif kind in MEDIA_PARTS:
            media_parts.append(MediaPart(message=index, part=number, kind=kind, url=_url(part, kind, param)))
        else:
            raise ApiError(
                f"{param}: parts of type {str(kind)[:40]!r} are not supported yet; "
                "send text, image_url and video_url.",
                param=f"{param}.type",
            )
    return media_parts
