"""Find the images and videos in OpenAI messages, and replace their parts by checked ones."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.media_in_text import INLINE, place_media
from server.errors import MISSING_FIELD, ApiError
from server.request_media import HANDLE

from .opened_file import OpenedFile

Message = Mapping[str, Any]
TEXT_PARTS = ("text", "refusal")
MEDIA_PARTS = ("image_url", "video_url")
FILE_PART = "file"


@dataclass(frozen=True, kw_only=True)
class MediaPart:
    """The slot of one image or video, which is messages[message].content[part], and where its bytes are."""

    message: int
    part: int
    kind: str  # image_url, video_url or file
    medium: str | None  # "image" or "video"; None for a file that nobody has looked at
    url: str  # empty if the part holds no text as its URL, which then fails like any other wrong URL
    file_id: str | None = None
    file: OpenedFile | None = None  # the opened file of `file_id`

    @property
    def param(self) -> str:
        """The field of the request, for error messages."""
        return f"messages[{self.message}].content[{self.part}].{self.kind}"


def _url(value: Any) -> str:
    url = value.get("url") if isinstance(value, dict) else value
    return url if isinstance(url, str) else ""


def _file_id(value: Any, param: str, *, is_needed: bool) -> str | None:
    """Return the `file_id` of a part, or None if it has none and needs none. Raises ApiError."""
    if not isinstance(value, dict) or value.get("file_id") is None:
        if not is_needed:
            return None
        raise ApiError(
            f"{param}.file_id is missing. Upload the file to /v1/files and send its id, or send the image or "
            "video in a part image_url or video_url.",
            param=f"{param}.file_id",
            code=MISSING_FIELD,
        )
    file_id = value["file_id"]
    if not isinstance(file_id, str) or not file_id:
        raise ApiError(f"{param}.file_id must be the id of a file.", param=f"{param}.file_id")
    if value.get("url") is not None:
        raise ApiError(f"{param} has both url and file_id. Send one of them.", param=f"{param}.file_id")
    return file_id


def handle_part(medium: str, handle: str) -> Mapping[str, Any]:
    """Return vLLM's message part for a decoded "image" or "video".

    vLLM uses the `uuid` as the cache key of the medium. It is the handle without the prefix, so it depends on
    the bytes. A uuid from a client is never used, because it could be the key of another client's image.
    """
    kind = f"{medium}_url"
    return {"type": kind, kind: {"url": handle}, "uuid": handle.removeprefix(HANDLE)}


def with_salt(part: Mapping[str, Any], salt: str | None) -> Mapping[str, Any]:
    """Return a media part whose cache key also depends on `salt`. None changes nothing."""
    if salt is None:
        return part
    return {**part, "uuid": hashlib.sha256(f"{salt} {part['uuid']}".encode()).hexdigest()}


def with_parts(index: int, message: Message, parts: Mapping[tuple[int, int], Mapping[str, Any]]) -> Message:
    """Return the message at `index` with its media parts replaced by the checked `parts`.

    Text parts keep only their text, so that no other field carries unchecked media to vLLM. Media stand where
    the texts say it (see `place_media`). Other media that follow all texts come before them.

    Args:
        index: the index of `message` in the conversation.
        message: a message whose parts `find_media_parts` accepts.
        parts: the checked parts by the indices of message and part.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return message
    checked = [
        parts.get((index, part_index)) or {"type": part["type"], part["type"]: part[part["type"]]}
        for part_index, part in enumerate(content)
    ]
    return {**message, "content": _media_first(place_media(checked))}


def _media_first(parts: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the parts with the media in front, if all texts stand before them.

    InternVL3 was trained with the images of a message before its text, and a model that is asked in the other
    order answers worse. Parts that mix texts and media stay as they are, because their order has a meaning.
    """
    kinds = [part["type"] in MEDIA_PARTS and not part[INLINE] for part in parts]
    first_media = kinds.index(True) if True in kinds else 0
    return parts[first_media:] + parts[:first_media] if all(kinds[first_media:]) else parts


def find_media_parts(index: int, message: Message) -> list[MediaPart]:
    """Return the images and videos of the message at `index` in the conversation.

    Raises:
        ApiError: 400, if a part is neither text nor an image, video or file, or names its file wrongly.
    """
    content = message.get("content")
    if content is None or isinstance(content, str):
        return []
    if not isinstance(content, list):
        raise ApiError(
            "A message's content must be a string or a list of parts.", param=f"messages[{index}].content"
        )
    media_parts: list[MediaPart] = []
    for part_index, part in enumerate(content):
        param = f"messages[{index}].content[{part_index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in TEXT_PARTS:
            if not isinstance(part.get(kind), str):
                raise ApiError(f"{param}.{kind} must be a string.", param=f"{param}.{kind}")
        elif kind in (*MEDIA_PARTS, FILE_PART):
            media_parts.append(
                MediaPart(
                    message=index,
                    part=part_index,
                    kind=kind,
                    medium=None if kind == FILE_PART else kind.removesuffix("_url"),
                    url=_url(part.get(kind)),
                    file_id=_file_id(part.get(kind), f"{param}.{kind}", is_needed=kind == FILE_PART),
                )
            )
        else:
            raise ApiError(
                f"{param}: parts of type {str(kind)[:40]!r} are not supported yet; "
                "send text, image_url, video_url and file.",
                param=f"{param}.type",
            )
    return media_parts
