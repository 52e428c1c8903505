"""Questions about a sheet whose answers need reading and several arithmetic steps, one operation a step.

The kinds are chosen so that a right answer nearly always comes from right steps: a process reward critic can
only help where the process decides (kinds with few possible answers, such as counting, reward luck).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from ttscaling.steps import SEPARATOR

from .digits import DigitPool, Split, digit_pool
from .sheets import SIDE, Sheet, draw_sheet, random_sheet

Kind = Literal["row sum", "column sum", "extreme", "multiply-add", "two rows", "difference"]
KINDS: tuple[Kind, ...] = ("row sum", "column sum", "extreme", "multiply-add", "two rows", "difference")
SHARE_OF_LARGE = 0.15


@dataclass(frozen=True)
class SheetQuestion:
    """A question without its picture: the sheet, the kind, which rows or columns it asks about (from 1)."""

    sheet: Sheet
    kind: Kind
    lines: tuple[int, ...]
    smallest: bool = False  # of kind "extreme": the smallest digit, not the largest

    @property
    def question(self) -> str:
        match self.kind:
            case "row sum":
                return f"What is the sum of row {self.lines[0]}?"
            case "column sum":
                return f"What is the sum of column {self.lines[0]}?"
            case "extreme":
                return (
                    f"What is the {'smallest' if self.smallest else 'largest'} digit in row {self.lines[0]}?"
                )
            case "multiply-add":
                return f"In row {self.lines[0]}, multiply the first two digits and add the third."
            case "two rows":
                return f"What is the sum of rows {self.lines[0]} and {self.lines[1]}?"
            case "difference":
                return f"What is the difference between the sums of rows {self.lines[0]} and {self.lines[1]}?"


@dataclass(frozen=True)
class Solution:
    """One written step per entry, the last one `Final answer: ..`."""

    steps: tuple[str, ...]

    @property
    def text(self) -> str:
        return SEPARATOR.join(self.steps)

    @property
    def answer(self) -> str:
        return self.steps[-1].removeprefix("Final answer: ")


@dataclass(frozen=True)
class Problem:
    """What a model is asked: a picture, a question, and the right answer."""

    image: Image.Image
    question: str
    answer: str
    kind: str


@dataclass(frozen=True)
class Slip:
    """A mistake at one step: a digit misread, or an offset on a result. Later steps carry it on."""

    position: int = 0  # which digit of a reading
    digit: int = 0  # what it is read as
    offset: int = (
        0  # added to an operation's result or the answer; for max and min it takes the other operand
    )


class Solver:
    """Writes a solution step by step, making the slips it is told to."""

    def __init__(self, slips: Mapping[int, Slip]):
        self.slips = slips
        self.steps: list[str] = []

    def read(self, name: str, number: int, digits: tuple[int, ...]) -> tuple[int, ...]:
        slip = self.slips.get(len(self.steps))
        if slip:
            position = slip.position % len(digits)
            digits = (*digits[:position], slip.digit, *digits[position + 1 :])
        self.steps.append(f"{name} {number}: {' '.join(map(str, digits))}")
        return digits

    def state(self, expression: str, exact: int) -> int:
        slip = self.slips.get(len(self.steps))
        result = abs(exact + slip.offset) if slip else exact  # no negative numbers, slips included
        self.steps.append(f"{expression}={result}")
        return result

    def operate(self, left: int, operator: str, right: int) -> int:
        if operator in ("max", "min"):
            smaller, larger = sorted((left, right))
            takes_larger = (operator == "max") != (len(self.steps) in self.slips)
            result = larger if takes_larger else smaller
            self.steps.append(f"{operator}({left},{right})={result}")
            return result
        exact = {"+": left + right, "-": left - right, "*": left * right}[operator]
        return self.state(f"{left}{operator}{right}", exact)

    def fold(self, digits: tuple[int, ...], operator: str) -> int:
        result = digits[0]
        for digit in digits[1:]:
            result = self.operate(result, operator, digit)
        return result

    def row(self, sheet: Sheet, number: int) -> tuple[int, ...]:
        return self.read("Row", number, sheet.row(number))

    def finish(self, answer: int) -> Solution:
        slip = self.slips.get(len(self.steps))
        return Solution((*self.steps, f"Final answer: {abs(answer + slip.offset) if slip else answer}"))


def solve(task: SheetQuestion, slips: Mapping[int, Slip] | None = None) -> Solution:
    """The written solution of a task; with `slips` (step index -> slip), one that carries them on."""
    solver = Solver(slips or {})
    sheet, lines = task.sheet, task.lines
    match task.kind:
        case "row sum":
            answer = solver.fold(solver.row(sheet, lines[0]), "+")
        case "column sum":
            answer = solver.fold(solver.read("Column", lines[0], sheet.column(lines[0])), "+")
        case "extreme":
            answer = solver.fold(solver.row(sheet, lines[0]), "min" if task.smallest else "max")
        case "multiply-add":
            first, second, third = solver.row(sheet, lines[0])
            answer = solver.operate(solver.operate(first, "*", second), "+", third)
        case "two rows" | "difference":
            first_sum, second_sum = (solver.fold(solver.row(sheet, line), "+") for line in lines)
            if task.kind == "two rows":
                answer = solver.operate(first_sum, "+", second_sum)
            else:
                answer = solver.operate(max(first_sum, second_sum), "-", min(first_sum, second_sum))
    return solver.finish(answer)


def random_task(rng: np.random.Generator, *, kind: Kind | None = None) -> SheetQuestion:
    """A task on a random sheet."""
    kind = kind or KINDS[rng.integers(len(KINDS))]
    sheet = random_sheet(rng)
    num_lines = 2 if kind in ("two rows", "difference") else 1
    lines = tuple(int(line) + 1 for line in rng.choice(SIDE, size=num_lines, replace=False))
    return SheetQuestion(sheet, kind, lines, smallest=kind == "extreme" and bool(rng.integers(2)))


def draw_task(task: SheetQuestion, pool: DigitPool, rng: np.random.Generator) -> Image.Image:
    """The task's sheet, at times large."""
    return draw_sheet(task.sheet, pool, rng, large=bool(rng.random() < SHARE_OF_LARGE))


def drawn(split: Split, n: int, seed: int) -> Iterator[tuple[SheetQuestion, Image.Image]]:
    """n tasks with pictures of one split's drawings, the kinds in turn; the same for the same seed."""
    rng = np.random.default_rng([seed, split == "heldout"])
    pool = digit_pool(split)
    for number in range(n):
        task = random_task(rng, kind=KINDS[number % len(KINDS)])
        yield task, draw_task(task, pool, rng)


def problems(split: Split, n: int, seed: int) -> Iterator[Problem]:
    """`drawn` as what a model is asked."""
    for task, image in drawn(split, n, seed):
        yield Problem(image, task.question, solve(task).answer, task.kind)


def heldout(n: int, seed: int) -> Iterator[Problem]:
    """n problems on drawings that no training stage saw."""
    return problems("heldout", n, seed)
