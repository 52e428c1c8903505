"""The routes of Anthropic's Messages API."""

from typing import Any

from fastapi import APIRouter, Request, Response

from server.http.call import read_call
from server.http.replies import reply_to
from server.http.request import until_disconnect

router = APIRouter()


@router.post("/v1/messages")
async def messages(request: Request) -> Response:
    """Answer a conversation in Anthropic's format."""
    call = await read_call(request)
    return await reply_to(request, call.service.message(call.principal, call.engine_body, call.budget))


@router.post("/v1/messages/count_tokens")
async def count_tokens(request: Request) -> dict[str, Any]:
    """Return the number of tokens in a conversation in Anthropic's format."""
    call = await read_call(request)
    work = call.service.count_message_tokens(call.principal, call.engine_body, call.budget)
    return await until_disconnect(request, work)
