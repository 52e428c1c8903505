"""Gather the candidates of a plan, and count the tokens that all of them took."""

from dataclasses import replace

from ttscaling.types import ModelError, Policy, TokenUsage

from .gathering import run_plan
from .plan import GatheredCandidates, GatherPlan
from .token_counting import CountingCritic, CountingPolicy


async def gather_candidates(policy: Policy, plan: GatherPlan) -> GatheredCandidates:
    """Sample and score the candidates of a plan, and return them with the tokens that all of this took.

    A candidate that fails alone is left out and named in `faults`. Raises PolicyError if no candidate was
    finished (OutOfTime if that was for lack of time), and lets other errors of the critic and the policy
    pass. The `usage` of an error that is raised is that of all candidates.
    """
    counted = CountingPolicy(policy)
    critic = None if plan.critic is None else CountingCritic(plan.critic)
    try:
        gathered = await run_plan(counted, replace(plan, critic=critic))
    except ModelError as error:
        error.usage = _usage(counted, critic)
        raise
    return replace(gathered, usage=_usage(counted, critic))


def _usage(policy: CountingPolicy, critic: CountingCritic | None) -> TokenUsage:
    return policy.usage if critic is None else policy.usage + critic.usage
