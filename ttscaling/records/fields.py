"""Check the fields that the published formats share."""

from collections.abc import Collection, Mapping
from typing import Any

from .bad_records import RecordError


def text_field(data: Mapping[str, Any], key: str) -> str:
    """Return the string under a key. Raises RecordError if it is missing, blank or no string."""
    value = optional_text(data, key)
    if value is None or not value.strip():
        raise RecordError(f"{key!r} is missing or blank: give it a text")
    return value


def optional_text(data: Mapping[str, Any], key: str) -> str | None:
    """Return the string under a key, or None if the key is absent or null. Raises RecordError."""
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise RecordError(f"{key!r} is a {type(value).__name__}: make it a string")
    return value


def image_field(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths under `image`: a string, a list of strings, or nothing (absent, null, empty).

    Raises RecordError for any other value.
    """
    value = data.get("image")
    paths = [] if not value else [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise RecordError("'image' is neither a path nor a list of paths: write one of them, or leave it out")
    return tuple(paths)


def media_fields(data: Mapping[str, Any]) -> tuple[tuple[str, ...], str | None]:
    """Return the paths under `image` and the path under `video`; at least one of the two is empty.

    Raises RecordError, also for a `clip` of a video, because training would ignore it.
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
    """Return `image` and `video` as a record has them: the inverse of `media_fields`."""
    image = {"image": images[0] if len(images) == 1 else list(images)} if images else {}
    return {**image, **({"video": video} if video else {})}


def list_field(data: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list under a key. Raises RecordError if it is missing, empty or no list."""
    value = data.get(key)
    if not isinstance(value, list) or not value:
        raise RecordError(f"{key!r} is missing, empty or no list: give it at least one entry")
    return value


def other_fields(data: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return the fields of a record that its format doesn't name."""
    return {key: value for key, value in data.items() if key not in known}
