"""Weighted vote: choose the final answer whose candidates' scores add up to most.

This is the "weighted best-of-N" of Snell et al. (arXiv 2408.03314) and of search-and-learn.
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


async def weighted_vote(
    policy: Policy,
    critic: Critic,
    conversation: Conversation,
    *,
    n: int = 8,
    include_greedy: bool = True,
    aggregation: Aggregation = "min",
    on_critic_error: OnCriticError = "fail",
    stop: StopRule | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Sample n candidates and choose the final answer with the largest sum of scores.

    The selected candidate is the one with the highest score among those with that answer. A tie goes to the
    answer that comes first. A candidate's score is the minimum of its step scores, as in Math-Shepherd (arXiv
    2312.08935), if the caller chooses no other aggregation. `stop.agreement` ends the selection early, when
    the leading answer is sure enough to stay ahead. Raises ValueError for `stop.abandon_losers`, because the
    scores of losers count in a vote. Errors are treated as in `best_of_n`.
    """
    return await select_with_critic(
        policy,
        critic,
        conversation,
        n=n,
        include_greedy=include_greedy,
        by_votes=True,
        aggregation=aggregation,
        on_critic_error=on_critic_error,
        stop=stop,
        on_progress=on_progress,
    )
