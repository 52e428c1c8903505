"""The questions that are asked: nano's held-out sheets, or those of a file; each with its right answer."""

import base64
import hashlib
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from model.prompt import IMAGE_TEXT
from ttscaling.train.data.faults import Faults, RecordError, TooManyBadRecordsError
from ttscaling.train.data.fields import optional_text
from ttscaling.train.data.jsonl import read_records
from ttscaling.train.data.media import media_path
from ttscaling.train.data.prompts import VIDEO_TEXT
from ttscaling.train.data.questions import parse_question

from .asking import EvaluationError, warn

QuestionsFile = Annotated[
    Path | None,
    typer.Option(
        help="Questions, one JSON object a line: question, answer, image or video. Else nano's held-out."
    ),
]
MediaFolder = Annotated[
    Path | None, typer.Option(help="The folder that paths are relative to; else the file's own.")
]


@dataclass(frozen=True)
class Question:
    """A text, its images (in memory or in files) or video, the right answer, a kind to be told apart by."""

    text: str
    images: tuple[Image.Image | Path, ...]
    answer: str
    kind: str
    video: Path | None = None

    @property
    def message(self) -> dict[str, Any]:
        """It as OpenAI's chat message."""
        return user_message(self.text, self.images, self.video)


def load_questions(file: Path | None, images: Path | None, n: int, seed: int) -> tuple[str, list[Question]]:
    """The first n questions of a file, or n of nano's, and what tells them from others.

    Bad records of a file are named on standard error and left out. Raises EvaluationError.
    """
    if file is None:
        return f"nano held-out, seed {seed}", list(heldout_questions(n, seed))
    try:
        found = read_questions(file, images or file.parent, Faults(allowed=0.01, tell=warn))[:n]
        if not found:
            raise EvaluationError(f"{file} holds no questions: write one JSON object a line")
        return f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}", found
    except (TooManyBadRecordsError, OSError) as error:
        raise EvaluationError(str(error)) from error


def heldout_questions(n: int, seed: int) -> Iterator[Question]:
    """n questions on drawings that no stage of nano's training saw; the same for the same seed."""
    from ttscaling.train.nano.problems import heldout  # needs scikit-learn, which other questions don't

    for problem in heldout(n, seed):
        yield Question(problem.question, (problem.image,), problem.answer, problem.kind)


def read_questions(path: Path, root: Path, faults: Faults) -> list[Question]:
    """A file's questions, in the forms of `ttscaling.train.data.questions`, paths under `root`; and a `kind`.

    Bad records go to `faults`; raises TooManyBadRecordsError as it decides, and OSError.
    """

    def parse(data: Mapping[str, Any]) -> Question:
        asked = parse_question(data)
        images = tuple(media_path(root, path) for path in asked.images)
        video = None if asked.video is None else media_path(root, asked.video)
        user_message_parts(asked.text, images)
        return Question(asked.text, images, asked.answer, optional_text(data, "kind") or "all", video)

    return list(read_records(path, parse, faults))


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


def image_part(image: Image.Image | Path) -> dict[str, Any]:
    """An image as an OpenAI content part: a file's bytes as they are, an image in memory as PNG."""
    if isinstance(image, Path):
        content, kind = image.read_bytes(), mimetypes.guess_type(image.name)[0] or "image/png"
    else:
        png = BytesIO()
        image.save(png, format="PNG")
        content, kind = png.getvalue(), "image/png"
    return {"type": "image_url", "image_url": {"url": _data_url(content, kind)}}


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
