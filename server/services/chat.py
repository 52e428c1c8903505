"""A chat request's way to its reply: one plain generation, or many candidates and a choice among them.

No HTTP here: bodies in, replies and events out.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from server.engine_interface import Engine
from server.protocol.chat_call import ChatCall
from server.telemetry.metrics import Metrics

from .scaled_chat import ScaledChat, with_progress


async def complete(engine: Engine, call: ChatCall, metrics: Metrics) -> dict[str, Any]:
    """The reply to a call; raises ApiError."""
    if call.scaling is None:
        return await engine.complete(call.body, videos=call.videos)
    choice = ScaledChat(engine, call, call.scaling, metrics)
    return choice.with_selection(
        await engine.complete(choice.body, choice.select_candidates, videos=call.videos)
    )


async def stream(engine: Engine, call: ChatCall, metrics: Metrics) -> AsyncGenerator[str, None]:
    """The reply as server-sent events. Returns with the first: what fails before it raises (ApiError)."""
    if call.scaling is None:
        events = await engine.stream(call.body, videos=call.videos)
    else:
        choice = ScaledChat(engine, call, call.scaling, metrics)
        events = with_progress(
            choice, await engine.stream(choice.body, choice.select_candidates, videos=call.videos)
        )
    return _resumed(await anext(events), events)


async def _resumed(first: str, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event
