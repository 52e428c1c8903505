"""The routes that say what a request would cost, and turn texts into tokens and back."""

from typing import Any

from fastapi import APIRouter, Request, Response

from server.http.call import read_call
from server.http.json_reply import json_reply
from server.http.request import until_disconnect

router = APIRouter()


@router.post("/v1/chat/completions/render")
async def render(request: Request) -> Response:
    """Return the prompt that a chat request would be answered from, and its cost at most."""
    call = await read_call(request)
    work = call.service.render(call.principal, call.body, call.budget)
    return await json_reply(await until_disconnect(request, work))


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    """Return the tokens of a text, or of a conversation with its images and videos."""
    call = await read_call(request)
    work = call.service.tokenize(call.principal, call.body, call.budget)
    return await json_reply(await until_disconnect(request, work))


@router.post("/detokenize")
async def detokenize(request: Request) -> dict[str, Any]:
    """Return the text of tokens."""
    call = await read_call(request)
    return await call.service.detokenize(call.principal, call.body)
