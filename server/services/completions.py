"""Continue texts, which OpenAI calls completions: without messages, media and test-time scaling."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from server.access.admission import Ticket
from server.access.principal import Principal
from server.engine_interface import Engine
from server.protocol.completion_call import CompletionCall, parse_completion
from server.protocol.weight import completion_weight

from .keep_alive import begun


async def complete(
    engine: Engine, principal: Principal, body: Mapping[str, Any], ticket: Ticket
) -> dict[str, Any] | AsyncGenerator[str, None]:
    """Return the reply to a completion request's body, or its events if the body asks for a stream.

    `principal` sends the request, and `ticket` is its place in the queue. Raises ApiError; the reader of the
    events may meet one later on.
    """
    call = parse_completion(body, principal.settings)
    call = call.with_cache_salt(principal.cache_salt(call.body.get("cache_salt")))
    call = call.with_priority(ticket.priority)
    weight = completion_weight(call, engine.max_model_len)
    if call.stream:
        return await begun(_events(engine, principal, call, weight, ticket))
    await ticket.take(weight, principal.name)
    reply = await engine.complete_text(call.body, count=principal.account.count)
    assert isinstance(reply, dict), "the body asks for no stream"
    return reply


async def _events(
    engine: Engine, principal: Principal, call: CompletionCall, weight: int, ticket: Ticket
) -> AsyncGenerator[str, None]:
    await ticket.take(weight, principal.name)
    events = await engine.complete_text(call.body, count=principal.account.count)
    assert not isinstance(events, dict), "the body asks for a stream"
    async with aclosing(events):
        async for event in events:
            yield event
