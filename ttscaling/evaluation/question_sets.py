"""The questions that are asked: nano's held-out sheets, or those of a file; each with its right answer."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from ttscaling.asking.user_message import user_message, user_message_parts
from ttscaling.console import CommandError, warn
from ttscaling.records.bad_records import BadRecords, TooManyBadRecordsError
from ttscaling.records.fields import optional_text
from ttscaling.records.jsonl import read_records
from ttscaling.records.media_paths import media_path
from ttscaling.records.questions import parse_question

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
class EvaluationQuestion:
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


def load_questions(
    file: Path | None, images: Path | None, n: int, seed: int
) -> tuple[str, list[EvaluationQuestion]]:
    """The first n questions of a file, or n of nano's, and what tells them from others.

    Bad records of a file are named on standard error and left out. Raises EvaluationError.
    """
    if file is None:
        return f"nano held-out, seed {seed}", list(heldout_questions(n, seed))
    try:
        found = read_questions(file, images or file.parent, BadRecords(allowed=0.01, tell=warn))[:n]
        if not found:
            raise CommandError(f"{file} holds no questions: write one JSON object a line")
        return f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}", found
    except (TooManyBadRecordsError, OSError) as error:
        raise CommandError(str(error)) from error


def heldout_questions(n: int, seed: int) -> Iterator[EvaluationQuestion]:
    """n questions on drawings that no stage of nano's training saw; the same for the same seed."""
    from ttscaling.nano_tasks.problems import heldout

    for problem in heldout(n, seed):
        yield EvaluationQuestion(problem.question, (problem.image,), problem.answer, problem.kind)


def read_questions(path: Path, root: Path, faults: BadRecords) -> list[EvaluationQuestion]:
    """A file's questions, in the forms of `ttscaling.records.questions`, paths under `root`; and a `kind`.

    Bad records go to `faults`; raises TooManyBadRecordsError as it decides, and OSError.
    """

    def parse(data: Mapping[str, Any]) -> EvaluationQuestion:
        asked = parse_question(data)
        images = tuple(media_path(root, path) for path in asked.images)
        video = None if asked.video is None else media_path(root, asked.video)
        user_message_parts(asked.text, images)
        return EvaluationQuestion(
            asked.text, images, asked.answer, optional_text(data, "kind") or "all", video
        )

    return list(read_records(path, parse, faults))
