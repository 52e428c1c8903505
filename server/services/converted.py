"""Answer a request of another API by a chat request: media, limits and candidates have one path."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from server.access.principal import Principal
from server.converted_request import ConvertedRequest
from server.engine_interface import PolicyEngine
from server.errors import ApiError
from server.media.budget import Budget
from server.telemetry.request_record import current_record

from . import chat, tokens
from .context import ServerContext
from .keep_alive import with_comments


async def answer(
    context: ServerContext,
    engine: PolicyEngine,
    principal: Principal,
    request: ConvertedRequest,
    budget: Budget,
) -> dict[str, Any] | AsyncGenerator[str, None]:
    """Return the other API's reply, or its events if the request asks for a stream.

    `principal` sends the request, and `budget` is what it may use. Raises ApiError, which names the fields of
    the other API.
    """
    try:
        reply = await chat.answer(context, engine, principal, request.chat_body, budget)
    except ApiError as error:
        raise request.named(error) from error
    return request.reply(reply) if isinstance(reply, dict) else with_comments(request.events(_noted(reply)))


async def _noted(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield chat events, and note the finish reason, which other APIs word in another way."""
    record = current_record()
    async with aclosing(events):
        async for event in events:
            record.note_event(event)
            yield event


async def count_tokens(
    context: ServerContext,
    engine: PolicyEngine,
    principal: Principal,
    request: ConvertedRequest,
    budget: Budget,
) -> dict[str, Any]:
    """Return the number of tokens in the prompt of a request, as Anthropic's API does. Raises ApiError."""
    try:
        _, prompt = await tokens.rendered(context, engine, principal, request.chat_body, budget)
    except ApiError as error:
        raise request.named(error) from error
    count = len(prompt.token_ids)
    return {"input_tokens": count, "context_management": {"original_input_tokens": count}}
