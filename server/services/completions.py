"""Continue texts, which OpenAI calls completions: without messages, media and test-time scaling."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from server.access.admission import Ticket
from server.access.principal import Principal
from server.engine_interface import CountTokens, PolicyEngine
from server.protocol.completion_call import CompletionCall, parse_completion
from server.protocol.weight import completion_weight
from server.telemetry.request_record import current_record

from .keep_alive import begun
from .senders_call import senders_call


async def complete(
    engine: PolicyEngine, principal: Principal, body: Mapping[str, Any], ticket: Ticket
) -> dict[str, Any] | AsyncGenerator[str, None]:
    """Return the reply to a completion request's body, or its events if the body asks for a stream.

    `principal` sends the request, and `ticket` is its place in the queue. Raises ApiError; the reader of the
    events may meet one later on.
    """
    call = parse_completion(body, principal.settings, engine.adapters)
    call, count = senders_call(call, principal, ticket)
    weight = completion_weight(call, engine.max_model_len)
    if call.stream:
        return await begun(_events(engine, call, partial(ticket.take, weight, principal.name), count))
    await ticket.take(weight, principal.name)
    reply = await engine.complete_text(call.body, count=count)
    assert isinstance(reply, dict), "the body asks for no stream"
    current_record().note_reply(reply)
    return reply


async def _events(
    engine: PolicyEngine, call: CompletionCall, wait: Callable[[], Awaitable[None]], count: CountTokens
) -> AsyncGenerator[str, None]:
    await wait()
    events = await engine.complete_text(call.body, count=count)
    assert not isinstance(events, dict), "the body asks for a stream"
    async with aclosing(events):
        async for event in events:
            yield event
