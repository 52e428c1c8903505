"""The routes that say what a request would cost, and turn texts into tokens and back."""

from typing import Any

from fastapi import APIRouter, Request, Response

from server.http.authentication import principal_of
from server.http.held_bytes import held_bytes
from server.http.json_reply import json_reply
from server.http.request import context_of, read_json, ready_engine, until_disconnect
from server.media.budget import Budget
from server.services import tokens

router = APIRouter()


@router.post("/v1/chat/completions/render")
async def render(request: Request) -> Response:
    """Return the prompt that a chat request would be answered from, and its cost at most."""
    context = context_of(request)
    engine, principal = ready_engine(context), principal_of(request)
    body = await read_json(request, context.settings)
    budget = Budget(principal.settings, held_bytes(request.scope))
    work = tokens.render(context, engine, principal, body, budget)
    return await json_reply(await until_disconnect(request, work))


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    """Return the tokens of a text, or of a conversation with its images and videos."""
    context = context_of(request)
    engine, principal = ready_engine(context), principal_of(request)
    body = await read_json(request, context.settings)
    budget = Budget(principal.settings, held_bytes(request.scope))
    work = tokens.tokenize(context, engine, principal, body, budget)
    return await json_reply(await until_disconnect(request, work))


@router.post("/detokenize")
async def detokenize(request: Request) -> dict[str, Any]:
    """Return the text of tokens."""
    context = context_of(request)
    engine, principal = ready_engine(context), principal_of(request)
    body = await read_json(request, context.settings)
    return await tokens.detokenize(engine, principal, body)
