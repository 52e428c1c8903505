"""Load the questions of an evaluation from a file, or draw nano's held-out ones."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
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
        help="A file of questions, one JSON object a line: question, answer, image or video. "
        "By default nano's held-out questions."
    ),
]
MediaFolder = Annotated[
    Path | None,
    typer.Option(
        help="The folder that image and video paths are relative to. By default the folder of the file."
    ),
]


@dataclass(frozen=True)
class EvaluationQuestion:
    """A question with its images (in memory or files) or video, its right answer and its kind.

    `internvl3 eval nano` reports figures for each `kind`.
    """

    text: str
    images: tuple[Image.Image | Path, ...]
    answer: str
    kind: str
    video: Path | None = None

    @property
    def message(self) -> dict[str, Any]:
        """Return the question as OpenAI's user message. Raises as `user_message` does."""
        return user_message(self.text, self.images, self.video)


def load_questions(
    file: Path | None, images: Path | None, n: int, seed: int, *, skip: int = 0
) -> tuple[str, list[EvaluationQuestion]]:
    """Return a text that identifies the questions, and n questions of a file, or n of nano's held-out ones.

    The seed decides a random order of the file's questions, of which the first n are taken. A larger n takes
    the same ones and more. `skip` leaves out so many at the beginning, for questions that an earlier call
    didn't return. If the file has fewer, all that are left are returned. Bad records of the file are named on
    standard error and left out. Raises CommandError if the file can't be read, holds no questions or has too
    many bad records, or if none are left.
    """
    if file is None:
        return f"nano held-out, seed {seed}", list(heldout_questions(skip + n, seed))[skip:]
    try:
        questions = read_questions(file, images or file.parent, BadRecords(allowed=0.01, tell=warn))
        content = hashlib.sha256(file.read_bytes()).hexdigest()
    except (TooManyBadRecordsError, OSError) as error:
        raise CommandError(str(error)) from error
    if not questions:
        raise CommandError(f"{file} holds no questions: write one question a line, as a JSON object")
    if skip >= len(questions):
        raise CommandError(
            f"{file} holds {len(questions)} questions, and none is left besides the {skip} that are reported "
            "on: lower --n-questions"
        )
    order = np.random.default_rng(seed).permutation(len(questions))[skip : skip + n]
    others = f" after {skip} others" if skip else ""
    source = f"{file.name} (sha256 {content}), drawn from {len(questions)} with seed {seed}{others}"
    return source, [questions[index] for index in order]


def short_name(source: str) -> str:
    """Return the file's name, or "nano held-out", of a text that identifies questions."""
    return source.partition(",")[0].partition(" (")[0]


def heldout_questions(n: int, seed: int) -> Iterator[EvaluationQuestion]:
    """Yield n questions on drawings that no stage of nano's training used; the seed decides which."""
    from ttscaling.nano_tasks.problems import heldout

    for problem in heldout(n, seed):
        yield EvaluationQuestion(problem.question, (problem.image,), problem.answer, problem.kind)


def read_questions(path: Path, root: Path, bad_records: BadRecords) -> list[EvaluationQuestion]:
    """Return the questions of a file in one of the forms of `ttscaling.records.questions`.

    A record may also have a `kind`. Paths of images and videos are relative to `root`. `bad_records` counts
    the records that can't be used, and raises TooManyBadRecordsError. Raises OSError if the file can't be
    read.
    """

    def parse(data: Mapping[str, Any]) -> EvaluationQuestion:
        question = parse_question(data)
        images = tuple(media_path(root, path) for path in question.images)
        video = None if question.video is None else media_path(root, question.video)
        user_message_parts(question.text, images)  # Raises RecordError for a wrong number of `<image>`.
        kind = optional_text(data, "kind") or "all"
        return EvaluationQuestion(question.text, images, question.answer, kind, video)

    return list(read_records(path, parse, bad_records))
