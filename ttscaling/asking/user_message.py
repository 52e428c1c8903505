"""TODO: what this file is about."""

import base64
import mimetypes
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from model.image_tokens import IMAGE_TEXT, VIDEO_TEXT
from ttscaling.records.bad_records import RecordError


def user_message_parts(text: str, images: Sequence[Image.Image | Path]) -> list[str | Image.Image | Path]:
    """Texts and images in their order. Raises as `user_message`."""
    texts = text.split(IMAGE_TEXT)
    if len(texts) == 1:
        return [*images, text]
    if len(texts) != len(images) + 1:
        raise RecordError(
            f"{len(texts) - 1} {IMAGE_TEXT} for {len(images)} images: write one for each, or none at all"
        )
    parts: list[str | Image.Image | Path] = []
    for piece, image in zip(texts, (*images, None), strict=True):
        parts += [piece.strip("\n")] if piece.strip() else []
        parts += [image] if image is not None else []
    return parts


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image_part(image: Image.Image | Path) -> dict[str, Any]:
    """An image as an OpenAI content part: a file's bytes as they are, an image in memory as PNG."""
    if isinstance(image, Path):
        content, kind = image.read_bytes(), mimetypes.guess_type(image.name)[0] or "image/png"
    else:
        png = BytesIO()
        image.save(png, format="PNG")
        content, kind = png.getvalue(), "image/png"
    return {"type": "image_url", "image_url": {"url": _data_url(content, kind)}}


def user_message(
    text: str, images: Sequence[Image.Image | Path], video: Path | None = None
) -> dict[str, Any]:
    """OpenAI's user message: images in the places of `<image>` in the text, else in front; a video in front.

    Raises RecordError where the text places another number of images.
    """
    parts = [
        {"type": "text", "text": part} if isinstance(part, str) else image_part(part)
        for part in user_message_parts(text, images)
    ]
    if video is not None:
        url = _data_url(video.read_bytes(), mimetypes.guess_type(video.name)[0] or "video/mp4")
        shown = {"type": "video_url", "video_url": {"url": url}}
        parts = [shown, {"type": "text", "text": text.replace(VIDEO_TEXT, "").strip("\n")}]
    return {"role": "user", "content": parts}
