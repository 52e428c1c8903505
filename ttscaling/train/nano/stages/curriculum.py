"""What the nano critic sees when: the two rounds of its training."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Round:
    """One run of the optimiser: its length, its peak learning rate, and the shares of the five kinds of
    conversation in its first and its last part."""

    steps: int
    peak: float
    first: Mapping[str, float]
    last: Mapping[str, float]
    turn: float = 0.4  # the part of the steps after which `last` takes over

    def shares(self, step: int) -> Mapping[str, float]:
        return self.first if step < self.turn * self.steps else self.last


STATEMENTS = {"readings": 0.38, "facts": 0.27, "exercises": 0.05, "solutions": 0.3}
MIXED = {"readings": 0.15, "facts": 0.1, "exercises": 0.05, "solutions": 0.25, "rollouts": 0.45}
WHOLE = {"readings": 0.12, "facts": 0.08, "exercises": 0.05, "solutions": 0.35, "rollouts": 0.4}


def learn_to_verify(steps: int) -> Round:
    """The first round: single statements until they can be judged, then rollouts as well."""
    return Round(steps=steps, peak=2e-3, first=STATEMENTS, last=MIXED)


def learn_to_judge(steps: int) -> Round:
    """The second round: mostly whole solutions."""
    return Round(steps=steps, peak=1.5e-3, first=WHOLE, last=WHOLE)
