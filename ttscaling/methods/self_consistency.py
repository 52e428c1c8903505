"""Self-consistency (arXiv 2203.11171): choose the most frequent final answer, without a critic."""

from collections.abc import Callable

from ttscaling.selection.candidates import gather_candidates
from ttscaling.selection.choosing import choose
from ttscaling.selection.plan import GatherPlan
from ttscaling.selection.stopping import StopRule
from ttscaling.types import Conversation, Policy, Progress, Selection


async def self_consistency(
    policy: Policy,
    conversation: Conversation,
    *,
    n: int,
    include_greedy: bool = True,
    stop: StopRule | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Selection:
    """Sample n candidates and choose the first one with the most frequent final answer.

    A tie goes to the final answer that comes first in the order of the candidates. If no candidate states a
    final answer, the first one is chosen and `degraded` says so. `stop.agreement` ends the
    selection early, when the leading answer is sure enough to stay ahead. Raises PolicyError if no candidate
    was finished, and ValueError if n is below 1 or `stop` has a rule on scores.
    Cancelling the call ends all sampling.
    """
    plan = GatherPlan(
        conversation=conversation,
        critic=None,
        n=n,
        include_greedy=include_greedy,
        by_votes=True,
        stop=stop or StopRule(),
        on_progress=on_progress,
    )
    return choose(await gather_candidates(policy, plan), None, by_votes=True)
