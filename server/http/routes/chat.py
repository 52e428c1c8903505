"""The route of OpenAI's chat completions."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from server.http.call import read_call
from server.http.json_reply import json_reply
from server.http.request import until_disconnect
from server.http.streams import ended_stream

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, with test-time scaling and V2PE where the body asks for them."""
    call = await read_call(request)
    # A client's own id, of any length, would stand in every chunk. X-Request-Id chooses one within limits.
    body = {**call.body, "request_id": request.scope["state"]["request_id"]}
    work = call.service.answer(call.principal, body, call.budget)
    reply = await until_disconnect(request, work)
    if isinstance(reply, dict):
        return await json_reply(reply)
    # The header tells proxies such as nginx to pass each event on at once.
    events = ended_stream(reply, request.scope["state"])
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
