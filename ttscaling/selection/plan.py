"""The plan for gathering candidates, and the candidates that were gathered."""

from collections.abc import Callable
from dataclasses import dataclass

from ttscaling.types import ABANDONED, Aggregation, Conversation, Critic, Progress, ScoredCandidate, Stopped

from .stopping import StopRule


@dataclass(frozen=True, kw_only=True)
class GatherPlan:
    """How a conversation's candidates are written and scored. Without a critic they are not scored.

    With `raise_critic_errors` the first CriticError is raised. Otherwise the candidate that the critic could
    not score stays without a score. Raises ValueError if `n` is below 1.
    """

    conversation: Conversation
    critic: Critic | None
    n: int
    include_greedy: bool
    aggregation: Aggregation = "mean"
    raise_critic_errors: bool = False
    stop: StopRule
    on_progress: Callable[[Progress], None]

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be at least 1, not {self.n}")


@dataclass(frozen=True, kw_only=True)
class GatheredCandidates:
    """Candidates in index order, scored or not. At least one of them may be chosen.

    `faults` names each failure in words.
    """

    candidates: tuple[ScoredCandidate, ...]
    stopped: Stopped | None
    faults: tuple[str, ...]
    failed: int  # candidates that failed or are invalid

    @property
    def finished(self) -> list[ScoredCandidate]:
        """The candidates that may be chosen."""
        return [entry for entry in self.candidates if entry.candidate.finish_reason != ABANDONED]
