"""Say what a request would cost before it runs: its prompt, its tokens, and a text's tokens and back."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.access.principal import Principal
from server.engine_interface import PolicyEngine
from server.errors import ApiError, field_error
from server.media.budget import Budget
from server.prompts import RenderedPrompt
from server.protocol.chat_call import ChatCall, parse_call, resolve_model
from server.protocol.weight import prompt_weight

from .chat import with_loaded_media
from .context import ServerContext

MAX_CHARACTERS = 4_000_000  # of a text to tokenize; they take about a second
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class TokenizeText(BaseModel):
    """The body of /tokenize for a text; its fields are vLLM's."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model: str | None = None
    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool | None = False


class Detokenize(BaseModel):
    """The body of /detokenize; its fields are vLLM's."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model: str | None = None
    tokens: list[TokenId] = Field(fail_fast=True)


async def render(
    context: ServerContext,
    engine: PolicyEngine,
    principal: Principal,
    body: Mapping[str, Any],
    budget: Budget,
) -> dict[str, Any]:
    """Return what a chat request's body would be answered from, without answering it. Raises ApiError."""
    call, prompt = await rendered(context, engine, principal, body, budget)
    candidates = call.n if call.scaling is None else call.scaling.n
    return {
        "object": "chat.completion.render",
        "model": call.body["model"],
        "prompt_token_ids": list(prompt.token_ids),
        "prompt_tokens": len(prompt.token_ids),
        "positions": prompt.positions,
        "window": prompt.window,
        "max_tokens": prompt.max_tokens,
        "vision": prompt.vision,
        "at_most": {
            "candidates": candidates,
            "prompt_tokens": candidates * len(prompt.token_ids),
            "completion_tokens": candidates * prompt.max_tokens,
        },
    }


async def tokenize(
    context: ServerContext,
    engine: PolicyEngine,
    principal: Principal,
    body: Mapping[str, Any],
    budget: Budget,
) -> dict[str, Any]:
    """Return the tokens of a text or of a chat request's messages, as vLLM's server does. Raises ApiError."""
    if "messages" in body:
        wants_texts = bool(body.get("return_token_strs"))
        chat = {name: value for name, value in body.items() if name != "return_token_strs"}
        _, prompt = await rendered(context, engine, principal, chat, budget)
        token_ids = list(prompt.token_ids)
    else:
        try:
            text = TokenizeText.model_validate(body)
        except ValidationError as error:
            raise field_error(error) from None
        resolve_model(text.model, principal.settings, engine.adapters)
        if len(text.prompt) > MAX_CHARACTERS:
            raise ApiError(
                f"prompt has {len(text.prompt)} characters, and {MAX_CHARACTERS} are allowed. Shorten it.",
                param="prompt",
            )
        wants_texts = bool(text.return_token_strs)
        token_ids = list(await engine.tokenize(text.prompt, add_special_tokens=text.add_special_tokens))
    return {
        "count": len(token_ids),
        "max_model_len": engine.max_model_len,
        "tokens": token_ids,
        "token_strs": await asyncio.to_thread(engine.token_texts, token_ids) if wants_texts else None,
    }


async def detokenize(engine: PolicyEngine, principal: Principal, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the text of tokens, as vLLM's server does. Raises ApiError."""
    try:
        request = Detokenize.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from None
    resolve_model(request.model, principal.settings, engine.adapters)
    return {"prompt": await engine.detokenize(request.tokens)}


async def rendered(
    context: ServerContext,
    engine: PolicyEngine,
    principal: Principal,
    body: Mapping[str, Any],
    budget: Budget,
) -> tuple[ChatCall, RenderedPrompt]:
    """Return the call that a chat request's body asks for, and its prompt. Raises ApiError."""
    call = parse_call(body, principal.settings, engine.adapters)
    call = call.with_cache_salt(principal.cache_salt(call.cache_salt))
    await budget.ticket.take(prompt_weight(call, engine.max_model_len), principal.name)
    call = await with_loaded_media(context, engine, principal, call, budget)
    return call, await engine.render(call.body, media=call.media)
