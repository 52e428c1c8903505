"""Decide whether a final answer is right, in the way of the published evaluations."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ttscaling.answers.final_answer import final_answer
from ttscaling.answers.grading import Mode, is_right
from ttscaling.answers.math_verifier import MathVerifier
from ttscaling.console import CommandError

Grader = Callable[[str | None, str], bool]
"""Returns whether a final answer, or None where none was stated, equals the right answer."""
Grading = Annotated[
    Mode | None,
    typer.Option(
        help="How answers are compared with the right one. By default math for a file, exact for nano."
    ),
]


def mode_of(grading: Mode | None, questions: Path | None) -> Mode:
    """Return the requested mode, or "exact" for nano's questions and "math" for those of a file."""
    return grading or ("exact" if questions is None else "math")


def stated_answer(choice: Mapping[str, Any]) -> str | None:
    """Return the final answer that a choice of a chat completion states, as the server reads it.

    Raises KeyError or TypeError if it is no choice.
    """
    return final_answer(choice["message"]["content"] or "", cut_off=choice["finish_reason"] == "length")


@contextmanager
def grader(mode: Mode) -> Iterator[Grader]:
    """Yield a function that compares answers by one mode of `ttscaling.answers.grading`.

    Mode "math" also accepts what math-verify finds mathematically equal; math-verify runs in a process that
    ends with the block. Raises CommandError if math-verify isn't installed.
    """
    if mode != "math":
        yield lambda answer, right_answer: is_right(answer, right_answer, mode=mode)
        return
    try:
        verifier = MathVerifier()
    except ImportError as error:
        raise CommandError(f"{error}; or choose another --grading") from error
    with verifier:
        yield lambda answer, right_answer: is_right(answer, right_answer, mode=mode, verifier=verifier)
