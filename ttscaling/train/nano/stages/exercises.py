"""Draw the five kinds of conversations that the nano critic is trained on.

- `readings` and `facts` hold several independent statements. A critic learns late to compare a stated digit
  with the picture, or a stated sum with the right one, and needs many judgements for that.
- `exercises` and `solutions` are whole written solutions with slips. Later steps calculate with the slips.
- `rollouts` are the policy's solutions with their Monte-Carlo scores.

A step of a written solution has value 1 if the right answer can still be reached after it, else 0. A perfect
policy's Monte-Carlo score would be the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from ttscaling.nano_tasks.arithmetic import random_exercise, random_fact
from ttscaling.nano_tasks.digits import DigitPool
from ttscaling.nano_tasks.problems import Slip, Solution, random_task, solve
from ttscaling.nano_tasks.sheets import SIDE, draw_sheet, random_sheet

from .monte_carlo import LabelledRollout

CHECK_QUESTION = "Check each statement."
NUM_FACTS = 8
NUM_READINGS = 6


@dataclass(frozen=True)
class Statement:
    """A step as the critic sees it, with its value and with the right step.

    `value` is the share of right answers that continue from the step. `right` is None if the right step isn't
    known. The first `num_given` characters can't be predicted from the conversation, so the losses skip them.
    """

    shown: str
    value: float
    right: str | None
    num_given: int = 0


@dataclass(frozen=True)
class CriticExercise:
    """A question, its picture, and the statements that a critic judges.

    If `chained`, the statements are the steps of one solution; otherwise they are independent.
    """

    question: str
    image: Image.Image | None
    statements: tuple[Statement, ...]
    chained: bool = True


def slipped_number(value: int, rng: np.random.Generator) -> int:
    """Return a wrong result, mostly off by 1 or 10, as the policy's own slips are."""
    offset = int(rng.choice([1, 1, 1, 1, 2, 3, 9, 10, 10, int(rng.integers(1, 20))])) * int(
        rng.choice([-1, 1])
    )
    return abs(value + offset) if abs(value + offset) != value else value + 1


def facts(rng: np.random.Generator) -> CriticExercise:
    """Return independent operations without a picture; half of them are wrong."""
    statements = []
    for _ in range(NUM_FACTS):
        expression, result = random_fact(rng)
        stated = result
        if rng.random() < 0.5:
            if expression.startswith("m"):
                left, right = map(int, expression[4:-1].split(","))
                stated = left + right - result
            else:
                stated = slipped_number(result, rng)
        stated_text, right_text = f"{expression}={stated}", f"{expression}={result}"
        statements.append(Statement(stated_text, stated == result, right_text, num_given=len(expression) + 1))
    return CriticExercise(CHECK_QUESTION, None, tuple(statements), chained=False)


def readings(pool: DigitPool, rng: np.random.Generator, *, large: bool) -> CriticExercise:
    """Return readings of a sheet's rows and columns; about half of them have a wrong digit."""
    sheet = random_sheet(rng)
    statements = []
    for _ in range(NUM_READINGS):
        is_row, number = rng.random() < 0.65, int(rng.integers(SIDE)) + 1
        name, digits = ("Row", sheet.row(number)) if is_row else ("Column", sheet.column(number))
        name = f"{name} {number}:"
        wrong = 1 - 0.45 ** (1 / len(digits))
        stated = tuple(
            int(rng.integers(0, 10)) if rng.random() < wrong * 10 / 9 else digit for digit in digits
        )
        stated_text, right = (f"{name} {' '.join(map(str, row))}" for row in (stated, digits))
        statements.append(Statement(stated_text, stated == digits, right, num_given=len(name)))
    picture = draw_sheet(sheet, pool, rng, large=large)
    return CriticExercise(CHECK_QUESTION, picture, tuple(statements), chained=False)


def exercises(rng: np.random.Generator) -> CriticExercise:
    """Return the solution of a text-only exercise, with slips that its later steps calculate with."""
    exercise = random_exercise(rng)
    return CriticExercise(exercise.question, None, slipped_statements(exercise.solve, rng))


def random_slips(num_steps: int, rng: np.random.Generator) -> dict[int, Slip]:
    """Return slips by step index: none in four of ten solutions, otherwise one or two."""
    num_slips = int(rng.choice([0, 1, 2], p=[0.4, 0.45, 0.15]))
    return {
        int(at): Slip(
            position=int(rng.integers(SIDE)),
            digit=int(rng.integers(10)),
            offset=slipped_number(100, rng) - 100,
        )
        for at in rng.choice(num_steps, size=min(num_slips, num_steps), replace=False)
    }


def slipped_statements(
    solve: Callable[[Mapping[int, Slip]], Solution], rng: np.random.Generator
) -> tuple[Statement, ...]:
    """Return the steps of a solution with random slips.

    The value of a step is 1 if the answer is right without the later slips, else 0.
    """
    right = solve({})
    slips = random_slips(len(right.steps), rng)
    statements = []
    for number, (step, right_step) in enumerate(zip(solve(slips).steps, right.steps, strict=True)):
        so_far = {at: slip for at, slip in slips.items() if at <= number}
        statements.append(Statement(step, solve(so_far).answer == right.answer, right_step))
    return tuple(statements)


def solutions(pool: DigitPool, rng: np.random.Generator, *, large: bool) -> CriticExercise:
    """Return the solution of a question about a sheet, with slips that its later steps calculate with."""
    question = random_task(rng)
    statements = slipped_statements(partial(solve, question), rng)
    picture = draw_sheet(question.sheet, pool, rng, large=large)
    return CriticExercise(question.question, picture, statements)


def rollout_exercise(
    rollout: LabelledRollout, pool: DigitPool, rng: np.random.Generator, *, large: bool
) -> CriticExercise:
    """Return a rollout with a new drawing of its sheet.

    The right steps are those of the written solution at the same index, and empty beyond its end.
    """
    right = _padded(solve(rollout.task).steps, len(rollout.steps))
    statements = (
        Statement(step, mc, right_step)
        for step, mc, right_step in zip(rollout.steps, rollout.mc, right, strict=True)
    )
    return CriticExercise(
        rollout.task.question, draw_sheet(rollout.task.sheet, pool, rng, large=large), tuple(statements)
    )


def _padded(steps: tuple[str, ...], length: int) -> tuple[str, ...]:
    return (*steps, *[""] * length)[:length]
