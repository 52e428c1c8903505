"""When a selection may end before every candidate is finished: rules, and the arithmetic behind them.

The agreement rule is its_hub's (Beta posterior on votes), with critic scores as fractions of a vote where
there is a critic. Bounds say what an unfinished answer can still reach.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from ttscaling.types import Aggregation

from .aggregation import aggregate


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """What ends a selection early; None and False: never.

    score: a candidate of at least this score. agreement: probability in (0.5, 1) that the leading final
    answer stays ahead of the second. max_tokens: written by all candidates together, as far as the policy
    tells while they are written. max_seconds: from the start, scoring included. abandon_losers: a draft that
    can't beat the best finished candidate any more is ended alone; `max_steps`, if answers have no more steps
    than that, lets this bite under the mean too.

    max_parallel: candidates in flight at once; one that ends makes room for the next. None: all of them; but
    with `score` or `agreement`, which save nothing once all are written, as few as could decide, at least 2,
    and one that ends undecided makes room for two.
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
        """Whether candidates must tell what they have written before they end."""
        return self.abandon_losers or self.max_tokens is not None

    @property
    def first_wave(self) -> int | None:
        """Candidates to begin with; None: all."""
        if self.max_parallel is not None:
            return self.max_parallel
        if self.score is not None:
            return 2
        return None if self.agreement is None else max(2, least_votes(self.agreement))

    @property
    def successors(self) -> int:
        """For how many others a candidate that ended undecided makes room."""
        return 1 if self.max_parallel is not None else 2


def stays_ahead(leader: float, second: float) -> float:
    """P(p > 1/2) for p ~ Beta(leader + 1, second + 1): how surely an answer with so many votes keeps winning.

    Votes are at least 0; they may be fractions. 1 vote of 1 gives 0.75, 4 of 4 give 0.969.
    """
    return 1 - _beta_half(leader + 1, second + 1)


def least_votes(agreement: float) -> int:
    """Votes without a dissenting one that make an answer so sure to stay ahead: 4 for 0.95."""
    votes = 1
    while stays_ahead(votes, 0) < agreement:
        votes += 1
    return votes


def answers_agree(votes: Sequence[float], agreement: float, *, left: int | None = None) -> bool:
    """Whether the answer of most votes is that sure to stay ahead; `votes` has one entry for each answer.

    It is sure, too, if the `left` votes to come, of at most 1 each, can't bring any other as far.
    """
    if not votes:
        return False
    leader, second, *_ = (*sorted(votes, reverse=True), 0.0)
    return stays_ahead(leader, second) >= agreement or (left is not None and leader > second + left)


def best_possible(scores: Sequence[float], how: Aggregation, *, max_steps: int | None = None) -> float:
    """The highest aggregate that an answer beginning with these step scores can still get, or only approach.

    `max_steps`: no answer has more steps; None: any number. Raises ValueError for no scores.
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
    """The regularised incomplete beta function at 1/2, a, b >= 1: a series of positive terms."""
    if a < b:
        return 1 - _beta_half(b, a)
    term = math.exp(math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b) - (a + b) * math.log(2))
    total, k = 0.0, 0
    while term > 1e-18:
        total += term
        term *= (a + b + k) / (a + 1 + k) / 2
        k += 1
    return min(1.0, total)
