"""Self-consistency (arXiv 2203.11171): N answers, and the one whose final answer most share. No critic."""

from collections.abc import Callable, Sequence
from contextlib import aclosing

from .answers import final_answer, majority
from .types import Candidate, Conversation, Policy, Progress, ScoredCandidate, Selection


async def self_consistency(
    policy: Policy,
    conversation: Conversation,
    *,
    n: int,
    include_greedy: bool = True,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Sample n candidates and choose by vote; a tie goes to the answer given first, by its first candidate.

    Raises PolicyError, and ValueError for n below 1. Cancelling cancels what still runs.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    candidates: dict[int, ScoredCandidate] = {}
    async with aclosing(policy.sample(conversation, n=n, include_greedy=include_greedy)) as answers:
        async for candidate in answers:
            latest = ScoredCandidate(candidate=candidate, step_scores=None, score=None)
            candidates[candidate.index] = latest
            on_progress(Progress(n=n, finished=len(candidates), scored=0, latest=latest))
    in_order = tuple(candidates[index] for index in range(n))
    return Selection(selected=vote([entry.candidate for entry in in_order]), candidates=in_order)


def vote(candidates: Sequence[Candidate]) -> int:
    """Place of the candidate that the majority of final answers elects."""
    return majority([final_answer(candidate.text) for candidate in candidates])
