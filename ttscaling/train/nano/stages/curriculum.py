"""The two rounds of the nano critic's training: their lengths, learning rates and mixtures."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Round:
    """One run of the optimiser over a changing mixture of the five kinds of conversations.

    `first` and `last` are the shares of the kinds in the first and in the last part of the run.
    """

    steps: int
    peak: float
    first: Mapping[str, float]
    last: Mapping[str, float]
    turn: float = 0.4  # the share of the steps after which `last` applies

    def shares(self, step: int) -> Mapping[str, float]:
        """Return the share of each kind of conversation at a step."""
        return self.first if step < self.turn * self.steps else self.last


STATEMENTS = {"readings": 0.38, "facts": 0.27, "exercises": 0.05, "solutions": 0.3}
MIXED = {"readings": 0.15, "facts": 0.1, "exercises": 0.05, "solutions": 0.25, "rollouts": 0.45}
MOSTLY_SOLUTIONS = {"readings": 0.12, "facts": 0.08, "exercises": 0.05, "solutions": 0.35, "rollouts": 0.4}


def learn_to_verify(steps: int) -> Round:
    """Return the first round: at first mostly single statements, later also rollouts."""
    return Round(steps=steps, peak=2e-3, first=STATEMENTS, last=MIXED)


def learn_to_judge(steps: int) -> Round:
    """Return the second round: mostly whole solutions and rollouts."""
    return Round(steps=steps, peak=1.5e-3, first=MOSTLY_SOLUTIONS, last=MOSTLY_SOLUTIONS)
