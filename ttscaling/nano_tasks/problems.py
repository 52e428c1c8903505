"""Questions about a sheet of digits, and their written solutions with one operation in each step.

The kinds of questions are such that a right answer nearly always comes from right steps, because only then
can a process reward critic help. Kinds with few possible answers, such as counting, reward luck.
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
    """A question without its picture: the sheet, the kind, and the rows or columns it is about (from 1)."""

    sheet: Sheet
    kind: Kind
    lines: tuple[int, ...]
    smallest: bool = False  # whether kind "extreme" asks for the smallest digit instead of the largest

    @property
    def question(self) -> str:
        """The question in words."""
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
    """The written steps of a solution; the last one is `Final answer: ..`."""

    steps: tuple[str, ...]

    @property
    def text(self) -> str:
        """The steps as one text."""
        return SEPARATOR.join(self.steps)

    @property
    def answer(self) -> str:
        """The final answer."""
        return self.steps[-1].removeprefix("Final answer: ")


@dataclass(frozen=True)
class Problem:
    """A question with its picture and its right answer."""

    image: Image.Image
    question: str
    answer: str
    kind: str


@dataclass(frozen=True)
class Slip:
    """A mistake in one step: a misread digit, or an offset to a result. Later steps carry it on.

    A step that reads digits takes `digit` for the digit at `position`. A step that computes, and the final
    answer, add `offset` to the result. A step with max or min takes the other operand.
    """

    position: int = 0
    digit: int = 0
    offset: int = 0


class Solver:
    """Writes a solution step by step and makes the given slips (step index -> slip)."""

    def __init__(self, slips: Mapping[int, Slip]):
        self.slips = slips
        self.steps: list[str] = []

    def read(self, name: str, number: int, digits: tuple[int, ...]) -> tuple[int, ...]:
        """Write the digits of a row or column, and return them as they were read."""
        slip = self.slips.get(len(self.steps))
        if slip:
            position = slip.position % len(digits)
            digits = (*digits[:position], slip.digit, *digits[position + 1 :])
        self.steps.append(f"{name} {number}: {' '.join(map(str, digits))}")
        return digits

    def state(self, expression: str, exact: int) -> int:
        """Write an expression with its result, and return the result."""
        slip = self.slips.get(len(self.steps))
        result = abs(exact + slip.offset) if slip else exact  # abs, because no solution has negative numbers
        self.steps.append(f"{expression}={result}")
        return result

    def operate(self, left: int, operator: str, right: int) -> int:
        """Write one operation, and return its result."""
        if operator in ("max", "min"):
            smaller, larger = sorted((left, right))
            takes_larger = (operator == "max") != (len(self.steps) in self.slips)
            result = larger if takes_larger else smaller
            self.steps.append(f"{operator}({left},{right})={result}")
            return result
        exact = {"+": left + right, "-": left - right, "*": left * right}[operator]
        return self.state(f"{left}{operator}{right}", exact)

    def fold(self, digits: tuple[int, ...], operator: str) -> int:
        """Write one operation after the other over all digits, and return the last result."""
        result = digits[0]
        for digit in digits[1:]:
            result = self.operate(result, operator, digit)
        return result

    def row(self, sheet: Sheet, number: int) -> tuple[int, ...]:
        """Write the digits of a row, and return them as they were read."""
        return self.read("Row", number, sheet.row(number))

    def finish(self, answer: int) -> Solution:
        """Return the solution with its final answer."""
        slip = self.slips.get(len(self.steps))
        return Solution((*self.steps, f"Final answer: {abs(answer + slip.offset) if slip else answer}"))


def solve(task: SheetQuestion, slips: Mapping[int, Slip] | None = None) -> Solution:
    """Return the written solution of a task; later steps carry on the `slips` (step index -> slip)."""
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
    """Return a task on a random sheet, of a random kind if `kind` is None."""
    kind = kind or KINDS[rng.integers(len(KINDS))]
    sheet = random_sheet(rng)
    num_lines = 2 if kind in ("two rows", "difference") else 1
    lines = tuple(int(line) + 1 for line in rng.choice(SIDE, size=num_lines, replace=False))
    return SheetQuestion(sheet, kind, lines, smallest=kind == "extreme" and bool(rng.integers(2)))


def draw_task(task: SheetQuestion, pool: DigitPool, rng: np.random.Generator) -> Image.Image:
    """Return a picture of the task's sheet, which is large with probability SHARE_OF_LARGE."""
    return draw_sheet(task.sheet, pool, rng, large=bool(rng.random() < SHARE_OF_LARGE))


def drawn(split: Split, n: int, seed: int) -> Iterator[tuple[SheetQuestion, Image.Image]]:
    """Yield n tasks with pictures of one split's drawings. The kinds take turns; a seed fixes all tasks."""
    rng = np.random.default_rng([seed, split == "heldout"])
    pool = digit_pool(split)
    for number in range(n):
        task = random_task(rng, kind=KINDS[number % len(KINDS)])
        yield task, draw_task(task, pool, rng)


def problems(split: Split, n: int, seed: int) -> Iterator[Problem]:
    """Yield the tasks of `drawn` as problems."""
    for task, image in drawn(split, n, seed):
        yield Problem(image, task.question, solve(task).answer, task.kind)


def heldout(n: int, seed: int) -> Iterator[Problem]:
    """Yield n problems on drawings that no training stage uses."""
    return problems("heldout", n, seed)
