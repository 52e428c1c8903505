"""Build the user message, with images or a video, that asks a server one question."""

import base64
import mimetypes
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from model.image_tokens import IMAGE_TEXT, VIDEO_TEXT
from ttscaling.records.bad_records import RecordError


def user_message(
    text: str, images: Sequence[Image.Image | Path], video: Path | None = None
) -> dict[str, Any]:
    """Return a question as OpenAI's user message.

    Each `<image>` in the text is replaced by the next image. Without `<image>` the images come before the
    text. A question with a `video` has the video before the text and no images. Raises RecordError where the
    text has another number of `<image>` than there are images, and OSError where a file can't be read.
    """
    if video is not None:
        question = text.replace(VIDEO_TEXT, "").strip("\n")
        return {"role": "user", "content": [_video_part(video), _text_part(question)]}
    parts = user_message_parts(text, images)
    content = [_text_part(part) if isinstance(part, str) else image_part(part) for part in parts]
    return {"role": "user", "content": content}


def user_message_parts(text: str, images: Sequence[Image.Image | Path]) -> list[str | Image.Image | Path]:
    """Return texts and images in the order of the message. Raises RecordError as `user_message` does."""
    texts = text.split(IMAGE_TEXT)
    if len(texts) == 1:
        return [*images, text]
    if len(texts) != len(images) + 1:
        raise RecordError(
            f"the text has {len(texts) - 1} {IMAGE_TEXT} for {len(images)} images: write one for each image, "
            "or none at all"
        )
    parts: list[str | Image.Image | Path] = []
    for piece, image in zip(texts, (*images, None), strict=True):
        parts += [piece.strip("\n")] if piece.strip() else []
        parts += [image] if image is not None else []
    return parts


def image_part(image: Image.Image | Path) -> dict[str, Any]:
    """Return an image as an OpenAI part: a file's bytes unchanged, an image in memory as PNG."""
    if isinstance(image, Path):
        url = _data_url(image.read_bytes(), mimetypes.guess_type(image.name)[0] or "image/png")
    else:
        png = BytesIO()
        image.save(png, format="PNG")
        url = _data_url(png.getvalue(), "image/png")
    return {"type": "image_url", "image_url": {"url": url}}


def _video_part(video: Path) -> dict[str, Any]:
    url = _data_url(video.read_bytes(), mimetypes.guess_type(video.name)[0] or "video/mp4")
    return {"type": "video_url", "video_url": {"url": url}}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
