"""Best-of-N: choose the candidate whose step scores have the highest aggregate.

The policy writes N candidates, candidate 0 greedily and the others by sampling. The critic scores the steps
of each candidate as soon as it ends, while others are still being written. Sources: InternVL3 (arXiv
2504.10479) section 2.4 and VisualPRM (arXiv 2503.10291), where step scores are aggregated by their mean.
"""

from collections.abc import Callable

from ttscaling.selection.stopping import StopRule
from ttscaling.types import (
    Aggregation,
    Conversation,
    Critic,
    OnCriticError,
    Policy,
    Progress,
    Selection,
)

from .with_critic import select_with_critic


async def best_of_n(
    policy: Policy,
    critic: Critic,
    conversation: Conversation,
    *,
    n: int = 8,
    include_greedy: bool = True,
    aggregation: Aggregation = "mean",
    on_critic_error: OnCriticError = "fail",
    stop: StopRule | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Sample n candidates and choose the one that the critic scores highest; a tie goes to the earlier one.

    Candidates that were cut off (finish_reason "length") are scored like the others. If the critic fails,
    "fail" raises its CriticError at once. With the other values of `on_critic_error` the candidate stays
    without a score. If no candidate has a score, "self_consistency" chooses by majority of the final answers
    and "first" takes the first candidate. `degraded` of the result names what failed. Raises PolicyError if
    no candidate was finished, and ValueError if n is below 1. When the call ends, also early or by
    cancellation, no sampling and no scoring is left running.
    """
    return await select_with_critic(
        policy,
        critic,
        conversation,
        n=n,
        include_greedy=include_greedy,
        by_votes=False,
        aggregation=aggregation,
        on_critic_error=on_critic_error,
        stop=stop,
        on_progress=on_progress,
    )
