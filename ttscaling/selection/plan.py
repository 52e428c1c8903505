"""What is asked of a gathering of candidates, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass

from ttscaling.types import ABANDONED, Aggregation, Conversation, Critic, Progress, ScoredCandidate, Stopped

from .stopping import StopRule


@dataclass(frozen=True, kw_only=True)
class GatherPlan:
    """How a conversation's candidates are made and scored; no critic: not scored.

    With `raise_critic_errors` the first CriticError is raised; else that candidate is left without a score.
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
    """Candidates in index order, scored or not; at least one is finished. `faults`: what failed, in words."""

    candidates: tuple[ScoredCandidate, ...]
    stopped: Stopped | None
    faults: tuple[str, ...]
    failed: int  # candidates that failed or are invalid

    @property
    def finished(self) -> list[ScoredCandidate]:
        """Those that may be chosen."""
        return [entry for entry in self.candidates if entry.candidate.finish_reason != ABANDONED]
