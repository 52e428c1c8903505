"""The route of OpenAI's text completions."""

from fastapi import APIRouter, Request, Response

from server.http.call import read_call
from server.http.replies import reply_to

router = APIRouter()


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    """Continue texts."""
    call = await read_call(request)
    return await reply_to(request, call.service.complete(call.principal, call.engine_body, call.budget))
