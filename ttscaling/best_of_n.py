"""Best-of-N: N answers by the policy, each judged step by step by the critic; the best aggregate wins.

InternVL3 (arXiv 2504.10479) section 2.4 with VisualPRM (arXiv 2503.10291): candidate 0 greedy, the others
sampled, step scores aggregated by their mean. An answer is judged the moment it ends, while others are still
being written.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing

from .aggregate import aggregate
from .self_consistency import vote
from .types import (
    Aggregation,
    Candidate,
    Conversation,
    Critic,
    CriticError,
    OnCriticError,
    Policy,
    Progress,
    ScoredCandidate,
    Selection,
)


async def best_of_n(
    policy: Policy,
    critic: Critic,
    conversation: Conversation,
    *,
    n: int,
    include_greedy: bool = True,
    aggregation: Aggregation = "mean",
    on_critic_error: OnCriticError = "fail",
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Sample n candidates and choose the one the critic scores highest; ties keep the earlier one.

    Candidates that were cut off (finish_reason "length") are judged like the others. If the critic fails on
    any candidate, scores can't be compared: "fail" raises its CriticError at once, "self_consistency" chooses
    by majority of final answers and "first" takes candidate 0, both saying why in `degraded`. PolicyError
    passes through. However this ends, early or cancelled, no sampling and no scoring is left running.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    candidates: dict[int, ScoredCandidate] = {}
    failure: CriticError | None = None

    def record(update: ScoredCandidate) -> None:
        candidates[update.candidate.index] = update
        scored = sum(entry.score is not None for entry in candidates.values())
        on_progress(Progress(n=n, finished=len(candidates), scored=scored, latest=update))

    async def judge(candidate: Candidate) -> None:
        nonlocal failure
        try:
            step_scores = await critic.score(conversation, candidate.text)
        except CriticError as error:
            if on_critic_error == "fail":
                raise
            failure = failure or error
        else:
            score = aggregate(step_scores.scores, aggregation)
            record(ScoredCandidate(candidate=candidate, step_scores=step_scores, score=score))

    try:
        async with (
            asyncio.TaskGroup() as judging,
            aclosing(policy.sample(conversation, n=n, include_greedy=include_greedy)) as answers,
        ):
            async for candidate in answers:
                record(ScoredCandidate(candidate=candidate, step_scores=None, score=None))
                if failure is None:
                    judging.create_task(judge(candidate))
    except ExceptionGroup as group:  # the task group's wrapping; callers expect the failure itself
        raise group.exceptions[0] from None

    in_order = tuple(candidates[index] for index in range(n))
    if failure is not None:
        selected = 0 if on_critic_error == "first" else vote([entry.candidate for entry in in_order])
        reason = f"{failure}; chosen by on_critic_error={on_critic_error}"
        return Selection(selected=selected, candidates=in_order, degraded=reason)
    scores = [-math.inf if entry.score is None else entry.score for entry in in_order]
    return Selection(selected=scores.index(max(scores)), candidates=in_order)
