"""Build user messages with images and videos from files and URLs."""

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def media_url(medium: str | Path) -> str:
    """Return a URL unchanged, and a local file as a data: URL. Raises OSError if the file can't be read."""
    if isinstance(medium, str) and medium.startswith(("http://", "https://", "data:")):
        return medium
    data = Path(medium).read_bytes()
    kind = (
        mimetypes.guess_type(str(medium))[0] or "application/octet-stream"
    )  # the server looks at the bytes only
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def user_message(
    text: str, images: Sequence[str | Path] = (), videos: Sequence[str | Path] = ()
) -> dict[str, Any]:
    """Return a user message with the images and videos, which are local files or URLs, before the text.

    Raises OSError if a file can't be read.
    """
    parts = [{"type": "image_url", "image_url": {"url": media_url(image)}} for image in images]
    parts += [{"type": "video_url", "video_url": {"url": media_url(video)}} for video in videos]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
