"""Arithmetic exercises without a picture, for nano's pre-training, in the notation of the sheets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .problems import Slip, Solution, Solver


def random_fact(rng: np.random.Generator) -> tuple[str, int]:
    """Return an operation that solutions of sheets use, and its result, such as ("17+12", 29)."""
    match rng.choice(["small", "digit", "sums", "difference", "product", "extreme"]):
        case "small":
            left, right = rng.integers(0, 10, 2)
            return f"{left}+{right}", int(left + right)
        case "digit":
            left, right = int(rng.integers(0, 82)), int(rng.integers(0, 10))
            return f"{left}+{right}", left + right
        case "sums":
            left, right = (int(rng.integers(0, 10, 3).sum()) for _ in range(2))
            return f"{left}+{right}", left + right
        case "difference":
            left, right = sorted((int(rng.integers(0, 10, 3).sum()) for _ in range(2)), reverse=True)
            return f"{left}-{right}", left - right
        case "product":
            left, right = rng.integers(0, 10, 2)
            return f"{left}*{right}", int(left * right)
        case _:
            left, right = rng.integers(0, 10, 2)
            name = rng.choice(["max", "min"])
            return f"{name}({left},{right})", int(max(left, right) if name == "max" else min(left, right))


@dataclass(frozen=True)
class Exercise:
    """A sum of digits or, without digits, a single operation with its result."""

    digits: tuple[int, ...] = ()
    expression: str = ""
    result: int = 0

    @property
    def question(self) -> str:
        """The question in words."""
        if self.expression:
            return f"What is {self.expression}?"
        return f"What is the sum of {' '.join(map(str, self.digits))}?"

    def solve(self, slips: Mapping[int, Slip] | None = None) -> Solution:
        """Return the written solution; later steps carry on the slips (step index -> slip)."""
        solver = Solver(slips or {})
        if self.expression:
            return solver.finish(solver.state(self.expression, self.result))
        return solver.finish(solver.fold(self.digits, "+"))


def random_exercise(rng: np.random.Generator) -> Exercise:
    """Return a random exercise: one operation, or a sum of 3 to 6 digits."""
    if rng.random() < 0.5:
        expression, result = random_fact(rng)
        return Exercise(expression=expression, result=result)
    return Exercise(digits=tuple(rng.integers(0, 10, rng.integers(3, 7)).tolist()))
