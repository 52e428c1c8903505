"""Answer a chat request: with one plain generation, or with a choice among candidates.

Nothing here knows HTTP: a body comes in, and a reply or its events go out.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from server.access.principal import Principal
from server.engine_interface import CountTokens, CriticEngine, PolicyEngine
from server.media.budget import Budget
from server.protocol.chat_call import ChatCall, parse_call
from server.protocol.weight import chat_weight
from server.telemetry.metrics import Metrics
from server.telemetry.request_record import current_record

from .context import ServerContext
from .keep_alive import begun
from .scaled_chat import ScaledChat, with_progress
from .senders_call import senders_call
from .uploaded_files import file_opener


async def answer(
    context: ServerContext,
    engine: PolicyEngine,
    principal: Principal,
    body: Mapping[str, Any],
    budget: Budget,
) -> dict[str, Any] | AsyncGenerator[str, None]:
    """Return the reply to a chat request's body, or its events if the body asks for a stream.

    `principal` sends the request, and `budget` is what it may use. Raises ApiError; the reader of the events
    may meet one later on.
    """
    call = parse_call(body, principal.settings, engine.adapters)
    call, count = senders_call(call, principal, budget.ticket)
    critic = None if context.engines is None else context.engines.critic
    weight = chat_weight(call, engine.max_model_len)

    async def prepared() -> ChatCall:
        await budget.ticket.take(weight, principal.name)
        return await with_loaded_media(context, engine, principal, call, budget)

    if call.stream:
        return await begun(_events(engine, critic, prepared, context.metrics, count))
    reply = await complete(engine, critic, await prepared(), context.metrics, count)
    current_record().note_reply(reply)
    return reply


async def with_loaded_media(
    context: ServerContext, engine: PolicyEngine, principal: Principal, call: ChatCall, budget: Budget
) -> ChatCall:
    """Return the call with its images and videos fetched, checked and decoded. Raises ApiError."""
    messages, media = await context.media.load(
        call.body["messages"],
        call.video,
        engine.tiling,
        budget,
        vision=call.vision,
        salt=call.cache_salt,
        open_file=file_opener(context, principal),
    )
    return call.with_media(messages, media)


async def complete(
    engine: PolicyEngine, critic: CriticEngine | None, call: ChatCall, metrics: Metrics, count: CountTokens
) -> dict[str, Any]:
    """Return the reply to a call; raises ApiError. `count` gets all tokens that it takes."""
    if call.scaling is None:
        return await engine.complete(call.body, media=call.media, count=count)
    scaled = ScaledChat(engine, critic, call, call.scaling, metrics, count)
    reply = await engine.complete(scaled.body, scaled.select_candidates, media=call.media, count=count)
    return scaled.with_selection(reply)


async def _events(
    engine: PolicyEngine,
    critic: CriticEngine | None,
    prepare: Callable[[], Awaitable[ChatCall]],
    metrics: Metrics,
    count: CountTokens,
) -> AsyncGenerator[str, None]:
    """Yield the server-sent events of a call that `prepare` returns when it may run, with its media."""
    call = await prepare()
    if call.scaling is None:
        events = await engine.stream(call.body, media=call.media, count=count)
    else:
        scaled = ScaledChat(engine, critic, call, call.scaling, metrics, count)
        events = with_progress(
            scaled,
            await engine.stream(scaled.body, scaled.select_candidates, media=call.media, count=count),
        )
    async with aclosing(events):
        async for event in events:
            yield event
