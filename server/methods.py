"""A request's `test_time_scaling` as a call of the method that it names."""

from collections.abc import Callable

from ttscaling.best_of_n import BestOfN
from ttscaling.search import Beam, beam_search
from ttscaling.self_consistency import self_consistency
from ttscaling.stopping import StopRule
from ttscaling.types import Conversation, Critic, Progress, Selection
from ttscaling.weighted_vote import weighted_vote

from .engine import PromptPolicy
from .protocol import Scaling


async def select(
    scaling: Scaling,
    policy: PromptPolicy,
    critic: Critic | None,
    conversation: Conversation,
    on_progress: Callable[[Progress], None],
) -> Selection:
    """Run it; raises PolicyError and CriticError. `critic` is None exactly where the method needs none."""
    stop = StopRule(
        score=scaling.stop_score,
        agreement=scaling.stop_agreement,
        max_tokens=scaling.max_tokens_total,
        max_seconds=scaling.max_seconds,
        max_parallel=scaling.max_parallel,
        abandon_losers=scaling.abandon_losers,
        max_steps=scaling.max_steps,
    )
    if critic is None:
        return await self_consistency(
            policy,
            conversation,
            n=scaling.n,
            include_greedy=scaling.include_greedy,
            stop=stop,
            on_progress=on_progress,
        )
    if scaling.method == "beam_search":
        steps = {} if scaling.max_steps is None else {"max_steps": scaling.max_steps}
        return await beam_search(
            policy,
            critic,
            conversation,
            beam=Beam(n=scaling.n, width=scaling.width, **steps),
            include_greedy=scaling.include_greedy,
            aggregation=scaling.aggregation,
            on_critic_error=scaling.on_critic_error,
            stop=stop,
            on_progress=on_progress,
        )
    method = BestOfN if scaling.method == "best_of_n" else weighted_vote
    return await method(policy, critic).run(
        conversation,
        n=scaling.n,
        include_greedy=scaling.include_greedy,
        aggregation=scaling.aggregation,
        on_critic_error=scaling.on_critic_error,
        stop=stop,
        on_progress=on_progress,
    )
