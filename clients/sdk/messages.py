"""Build user messages with images and videos from files, bytes, URLs and uploaded files."""

import base64
import mimetypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .files.stored_files import StoredFile

# A path, an http(s) or data: URL, the bytes of a file, or an uploaded file.
Medium = str | Path | bytes | StoredFile


def is_url(medium: object) -> bool:
    """Return whether a medium is an http(s) or data: URL, which is sent as it is."""
    return isinstance(medium, str) and medium.startswith(("http://", "https://", "data:"))


def media_url(medium: str | Path | bytes) -> str:
    """Return a URL unchanged, and a local file or bytes as a data: URL.

    Raises OSError if the file can't be read.
    """
    if is_url(medium):
        return str(medium)
    data = medium if isinstance(medium, bytes) else Path(medium).read_bytes()
    guess = None if isinstance(medium, bytes) else mimetypes.guess_type(str(medium))[0]
    kind = guess or "application/octet-stream"  # the server looks at the bytes only
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def user_message(
    text: str,
    images: Sequence[Medium] = (),
    videos: Sequence[Medium] = (),
    files: Sequence[str | StoredFile] = (),
) -> dict[str, Any]:
    """Return a user message with the images, videos and uploaded files before the text.

    `files` holds uploaded images and videos, each as its id or as what the upload returned. Raises OSError if
    a local file can't be read.
    """
    parts = [_part("image_url", image) for image in images]
    parts += [_part("video_url", video) for video in videos]
    parts += [_file_part(file) for file in files]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def several(media: Medium | Iterable[Medium] | None) -> list[Medium]:
    """Return one medium, many or none as a list. A text is one medium and not its letters."""
    if media is None:
        return []
    return [media] if isinstance(media, str | Path | bytes | StoredFile) else list(media)


def _part(kind: str, medium: Medium) -> dict[str, Any]:
    if isinstance(medium, StoredFile):
        return _file_part(medium)
    return {"type": kind, kind: {"url": media_url(medium)}}


def _file_part(file: str | StoredFile) -> dict[str, Any]:
    return {"type": "file", "file": {"file_id": file.id if isinstance(file, StoredFile) else file}}
