"""What Best-of-N and the weighted vote share: candidates that a critic scores, one of which is chosen."""

from collections.abc import Callable

from ttscaling.selection.candidates import gather_candidates
from ttscaling.selection.choosing import choose
from ttscaling.selection.plan import GatherPlan
from ttscaling.selection.stopping import StopRule
from ttscaling.types import Aggregation, Conversation, Critic, OnCriticError, Policy, Progress, Selection


async def select_with_critic(
    policy: Policy,
    critic: Critic,
    conversation: Conversation,
    *,
    n: int,
    include_greedy: bool,
    by_votes: bool,
    aggregation: Aggregation,
    on_critic_error: OnCriticError,
    stop: StopRule | None,
    on_progress: Callable[[Progress], None],
) -> Selection:
    """Sample and score n candidates, and choose one by its score or, with `by_votes`, by its answer's scores.

    See `best_of_n` and `weighted_vote`.
    """
    plan = GatherPlan(
        conversation=conversation,
        critic=critic,
        n=n,
        include_greedy=include_greedy,
        by_votes=by_votes,
        aggregation=aggregation,
        raise_critic_errors=on_critic_error == "fail",
        stop=stop or StopRule(),
        on_progress=on_progress,
    )
    return choose(await gather_candidates(policy, plan), on_critic_error, by_votes=by_votes)
