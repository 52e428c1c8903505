"""Run the method that a request's `test_time_scaling` names."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from server.prompts import PromptPolicy
from server.protocol.request_fields import ScalingFields
from ttscaling.methods.beam_search import beam_search
from ttscaling.methods.beams import Beam
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.methods.weighted_vote import weighted_vote
from ttscaling.selection.stopping import StopRule
from ttscaling.types import Conversation, Critic, CriticError, Progress, Selection


async def select(
    scaling: ScalingFields,
    policy: PromptPolicy,
    critic: Critic | None,
    conversation: Conversation,
    on_progress: Callable[[Progress], None],
) -> Selection:
    """Return the selection of the method; `critic` is None exactly if the method needs none.

    Raises PolicyError and CriticError.
    """
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
    if scaling.method == "beam_search":  # no reading ahead, because its first steps end too soon for that
        steps = {} if scaling.max_steps is None else {"max_steps": scaling.max_steps}
        return await beam_search(
            policy,
            critic,
            conversation,
            beam=Beam(n=scaling.n, width=scaling.width, **steps),
            include_greedy=scaling.include_greedy,
            aggregation=scaling.step_aggregation,
            on_critic_error=scaling.on_critic_error,
            stop=stop,
            on_progress=on_progress,
        )
    method = best_of_n if scaling.method == "best_of_n" else weighted_vote
    async with _reading_ahead(critic, conversation):
        return await method(
            policy,
            critic,
            conversation,
            n=scaling.n,
            include_greedy=scaling.include_greedy,
            aggregation=scaling.step_aggregation,
            on_critic_error=scaling.on_critic_error,
            stop=stop,
            on_progress=on_progress,
        )


@asynccontextmanager
async def _reading_ahead(critic: Critic, conversation: Conversation) -> AsyncGenerator[None]:
    """Let the critic read the question and its images while the policy writes.

    They are then in the critic's prefix cache when the first candidate ends. The critic scores an empty
    answer for that.
    """

    async def read() -> None:
        with suppress(CriticError):  # if the critic fails, scoring the candidates fails, too, and is reported
            await critic.score(conversation, "")

    reading = asyncio.create_task(read())
    try:
        yield
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
