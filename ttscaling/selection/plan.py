"""The plan for gathering candidates, and the candidates that were gathered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ttscaling.types import (
    ABANDONED,
    Aggregation,
    Conversation,
    Critic,
    PolicyError,
    Progress,
    ScoredCandidate,
    Stopped,
    TokenUsage,
)

from .stopping import StopRule


@dataclass(frozen=True, kw_only=True)
class GatherPlan:
    """How a conversation's candidates are written, scored and chosen. Without a critic they are not scored.

    With `by_votes` the final answer with the largest sum of scores wins (of votes, without a critic), else
    the candidate with the highest score. With `raise_critic_errors` the first CriticError is raised.
    Otherwise the candidate that the critic could not score stays without a score. Raises ValueError if `n` is
    below 1 or `stop` has a rule that the method can't follow.
    """

    conversation: Conversation
    critic: Critic | None
    n: int
    include_greedy: bool
    by_votes: bool
    aggregation: Aggregation = "mean"
    raise_critic_errors: bool = False
    stop: StopRule
    on_progress: Callable[[Progress], None]

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be at least 1, not {self.n}")
        if self.critic is None and self.stop.score is not None:
            raise ValueError("a stop rule with a score needs a critic: leave score out, or give a critic")
        if self.stop.abandon_losers:
            _check_abandoning(self.conversation, by_votes=self.by_votes)


@dataclass(frozen=True, kw_only=True)
class GatheredCandidates:
    """Candidates in index order, scored or not. At least one of them may be chosen.

    `faults` names each failure in words.
    """

    candidates: tuple[ScoredCandidate, ...]
    stopped: Stopped | None
    faults: tuple[str, ...]
    failed: int  # candidates that failed or are invalid
    valid: bool = True  # False if no candidate is valid; the first invalid one may then be chosen
    usage: TokenUsage = field(default_factory=TokenUsage)

    @property
    def finished(self) -> list[ScoredCandidate]:
        """The candidates that may be chosen."""
        return [entry for entry in self.candidates if entry.candidate.finish_reason != ABANDONED]


def in_index_order(
    entries: Sequence[ScoredCandidate],
    stopped: Stopped | None,
    faults: Sequence[str],
    failed: int,
    *,
    if_none: PolicyError,
) -> GatheredCandidates:
    """Return candidates to choose from, in index order. Raises `if_none` if there are none."""
    if not entries:
        raise if_none
    in_order = sorted(entries, key=lambda entry: entry.candidate.index)
    return GatheredCandidates(
        candidates=tuple(in_order), stopped=stopped, faults=tuple(faults), failed=failed
    )


def _check_abandoning(conversation: Conversation, *, by_votes: bool) -> None:
    """Raise ValueError if ending losers early could change what a method chooses.

    In a vote, the scores of losers count. With delta "auto" the length of an answer decides how the critic
    sees the images, so the scores of a draft's steps may differ from those of the finished answer.
    """
    if by_votes:
        raise ValueError("abandon_losers can change the result of a vote: leave it out, or use best_of_n")
    if conversation.mm_processor_kwargs.get("v2pe_delta") == "auto":
        raise ValueError('abandon_losers needs a fixed delta, and v2pe_delta is "auto": choose a number')
