"""Fields that the published formats share, checked one by one."""

from collections.abc import Collection, Mapping
from typing import Any

from .bad_records import RecordError


def text_field(data: Mapping[str, Any], key: str) -> str:
    """A string that isn't blank. Raises RecordError."""
    value = optional_text(data, key)
    if value is None or not value.strip():
        raise RecordError(f"{key!r} is missing or blank: give it a text")
    return value


def optional_text(data: Mapping[str, Any], key: str) -> str | None:
    """A string, or None where the key is absent or null. Raises RecordError."""
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise RecordError(f"{key!r} is a {type(value).__name__}: make it a string")
    return value


def image_field(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths under `image`: a string, a list of strings, or nothing (absent, null, empty).

    Raises RecordError.
    """
    value = data.get("image")
    paths = [] if not value else [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise RecordError("'image' is neither a path nor a list of paths: write one of them, or leave it out")
    return tuple(paths)


def media_fields(data: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """The paths under `image` and the one under `video`; one of the two is empty.

    Raises RecordError, also for a `clip` of a video, which nothing here would heed.
    """
    images, video = image_field(data), optional_text(data, "video") or None
    if images and video:
        raise RecordError("the record has both 'image' and 'video': keep one of them")
    if video and data.get("clip"):
        raise RecordError(
            "the record asks for a 'clip' of its video: cut the video itself and remove the key"
        )
    return images, video


def media_json(images: tuple[str, ...], video: str | None = None) -> dict[str, Any]:
    """The inverse of `media_fields`: no key, a path, or a list of paths."""
    shown = {"image": images[0] if len(images) == 1 else list(images)} if images else {}
    return {**shown, **({"video": video} if video else {})}


def list_field(data: Mapping[str, Any], key: str) -> list[Any]:
    """A list that isn't empty. Raises RecordError."""
    value = data.get(key)
    if not isinstance(value, list) or not value:
        raise RecordError(f"{key!r} is missing, empty or no list: give it at least one entry")
    return value


def other_fields(data: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The keys that a format doesn't name: kept as they are."""
    return {key: value for key, value in data.items() if key not in known}
