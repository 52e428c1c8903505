"""TODO: what this file is about."""

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def media_url(medium: str | Path) -> str:
    """URLs as they are; a local file as a data: URL, for the server can't read it. Raises OSError."""
    if isinstance(medium, str) and medium.startswith(("http://", "https://", "data:")):
        return medium
    data = Path(medium).read_bytes()
    kind = mimetypes.guess_type(str(medium))[0] or "application/octet-stream"  # the server goes by the bytes
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def user_message(
    text: str, images: Sequence[str | Path] = (), videos: Sequence[str | Path] = ()
) -> dict[str, Any]:
    """A user turn: images and videos (paths of local files, or URLs) before the text. Raises OSError for a
    bad file.
    """
    parts = [{"type": "image_url", "image_url": {"url": media_url(image)}} for image in images]
    parts += [{"type": "video_url", "video_url": {"url": media_url(video)}} for video in videos]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}
