"""The rules that end a selection before every candidate is finished, and their arithmetic.

The agreement rule is its_hub's (a Beta posterior on votes). With a critic, a candidate's score is its
fraction of a vote. The bounds say how high the score of an unfinished answer can still become.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from ttscaling.types import Aggregation

from .aggregation import aggregate


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """The rules that end a selection early. A rule that is None or False never ends it.

    - `score`: the candidate that would be chosen now has at least this score.
    - `agreement`: the candidate that would be chosen now states the leading final answer, and that answer
      stays ahead of the second with this probability, in (0.5, 1). The probability is that of one look at the
      votes, and here the votes are looked at again and again, so it is too high where answers are nearly
      even. If votes choose, this rule also ends a selection whose leading answer can't be overtaken.
    - `max_tokens`: all candidates together have written this many tokens, as far as the policy reports them
      while it writes.
    - `max_seconds`: this time has passed since the start, scoring included.
    - `abandon_losers`: a draft that can no longer beat the best finished candidate is ended alone. With other
      aggregations than min and product this needs `max_steps`, the most steps that an answer can have. Only
      methods that choose the highest score can follow this rule; in a vote, the scores of losers count.

    `max_parallel` is how many candidates are written at the same time; each one that ends makes room for
    another. With None all are written at once, unless `score` or `agreement` is set: these save nothing once
    all candidates are written. So the selection then begins with the fewest candidates that could decide, at
    least 2. Under `score`, each one that ends without a decision makes room for two. Under `agreement` alone,
    others are begun when those that are being written can't decide any more: the fewest that could.

    Raises ValueError for a value out of its range.
    """

    score: float | None = None
    agreement: float | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    abandon_losers: bool = False
    max_steps: int | None = None
    max_parallel: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_seconds", "max_steps", "max_parallel"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"score must be between 0 and 1, not {self.score}")
        if self.agreement is not None and not 0.5 < self.agreement < 1:
            raise ValueError(f"agreement must be above 0.5 and below 1, not {self.agreement}")

    @property
    def needs_drafts(self) -> bool:
        """Whether the policy must report candidates while it writes them."""
        return self.abandon_losers or self.max_tokens is not None


def stays_ahead(leader: float, second: float) -> float:
    """Return the probability that the answer with `leader` votes stays ahead of the one with `second` votes.

    This is P(p > 1/2) for p ~ Beta(leader + 1, second + 1). Votes are at least 0 and may be fractions. 1 vote
    of 1 gives 0.75, 4 of 4 give 0.969.
    """
    return 1 - _beta_half(leader + 1, second + 1)


def votes_missing(leader: float, second: float, agreement: float) -> int:
    """Return how many more votes bring the leading answer to `agreement`: from no votes 4 for 0.95."""
    votes = 0
    while stays_ahead(leader + votes, second) < agreement:
        votes += 1
    return votes


def votes_out_of_reach(leader: float, second: float, left: int) -> int:
    """Return how many of the `left` votes bring the leading answer so far that the others can't change it."""
    return max(0, math.floor((second + left - leader) / 2) + 1)


def answers_agree(votes: Sequence[float], agreement: float) -> bool:
    """Return whether the answer with the most votes stays ahead with the probability `agreement`.

    `votes` has one entry for each answer.
    """
    return bool(votes) and stays_ahead(*two_largest(votes)) >= agreement


def two_largest(votes: Sequence[float]) -> tuple[float, float]:
    """Return the votes of the leading answer and of the second, which are 0 where there is none."""
    largest = sorted((*votes, 0.0, 0.0), reverse=True)
    return largest[0], largest[1]


def best_possible(scores: Sequence[float], how: Aggregation, *, max_steps: int | None = None) -> float:
    """Return the highest aggregate that an answer with these first step scores can reach or approach.

    `max_steps` is the most steps that an answer can have; None is any number. Raises ValueError if there are
    no scores.
    """
    now = aggregate(scores, how)
    match how:
        case "min" | "product":
            return now
        case "mean":
            if max_steps is None:
                return 1.0
            missing = max(0, max_steps - len(scores))
            return (math.fsum(scores) + missing) / (len(scores) + missing)
        case "last" | "max":
            return now if max_steps is not None and len(scores) >= max_steps else 1.0
        case _:
            assert_never(how)


def _beta_half(a: float, b: float) -> float:
    """Return the regularised incomplete beta function at 1/2 for a, b >= 1, by a series of positive terms."""
    if a < b:
        return 1 - _beta_half(b, a)
    term = math.exp(math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b) - (a + b) * math.log(2))
    total, k = 0.0, 0
    while term > 1e-18:
        total += term
        term *= (a + b + k) / (a + 1 + k) / 2
        k += 1
    return min(1.0, total)
