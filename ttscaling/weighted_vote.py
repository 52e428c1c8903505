"""Weighted vote: N answers, each final answer weighing the sum of its candidates' scores.

"Weighted best-of-N" of Snell et al. (arXiv 2408.03314) and of search-and-learn.
"""

from collections.abc import Callable

from .choice import choose, weighted_best
from .gathering import Plan, gather
from .stopping import StopRule
from .types import Aggregation, Conversation, Critic, OnCriticError, Policy, Progress, Selection


async def weighted_vote(
    policy: Policy,
    critic: Critic,
    conversation: Conversation,
    *,
    n: int,
    include_greedy: bool = True,
    aggregation: Aggregation = "mean",
    on_critic_error: OnCriticError = "fail",
    stop: StopRule | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Sample n candidates, add up the scores of each final answer, choose the best candidate of the winner.

    A tie goes to the answer given first. Everything else is `best_of_n`'s; `stop.agreement` ends it when the
    leading answer is sure enough to stay ahead.
    """
    plan = Plan(
        conversation=conversation,
        critic=critic,
        n=n,
        include_greedy=include_greedy,
        aggregation=aggregation,
        critic_must_work=on_critic_error == "fail",
        stop=stop or StopRule(),
        on_progress=on_progress,
    )
    return choose(await gather(policy, plan), weighted_best, on_critic_error)
