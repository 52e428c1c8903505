"""Whether final answers are right, as the published evaluations compare them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ttscaling.answers.grading import Mode, is_right
from ttscaling.answers.math_verifier import MathVerifier
from ttscaling.console import CommandError

Grader = Callable[[str | None, str], bool]
Grading = Annotated[
    Mode | None,
    typer.Option(help="How answers are compared with the right one; else math for a file, exact for nano."),
]


def mode_of(grading: Mode | None, questions: Path | None) -> Mode:
    """The mode asked for, else the one for these questions: a file's, or nano's own."""
    return grading or ("exact" if questions is None else "math")


@contextmanager
def grader(mode: Mode) -> Iterator[Grader]:
    """Judges (a final answer or None, the right one) by a mode of `ttscaling.answers.grading`.

    "math" also takes what math-verify finds mathematically the same, in a process that ends with the block.
    Raises EvaluationError where that isn't installed.
    """
    if mode != "math":
        yield lambda answer, known: is_right(answer, known, mode=mode)
        return
    try:
        verifier = MathVerifier()
    except ImportError as error:
        raise CommandError(f"{error}; or choose another --grading") from error
    with verifier:
        yield lambda answer, known: is_right(answer, known, mode=mode, verifier=verifier)
