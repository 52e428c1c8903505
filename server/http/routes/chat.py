"""The route of OpenAI's chat completions."""

from fastapi import APIRouter, Request, Response

from server.http.call import read_call
from server.http.replies import reply_to

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, with test-time scaling and V2PE where the body asks for them."""
    call = await read_call(request)
    return await reply_to(request, call.service.answer(call.principal, call.engine_body, call.budget))
