"""The route of OpenAI's chat completions."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from server.http.authentication import principal_of
from server.http.held_bytes import held_bytes
from server.http.json_reply import json_reply
from server.http.request import context_of, read_json, ready_engine, until_disconnect
from server.http.streams import ended_stream
from server.media.budget import Budget
from server.services.chat import answer

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, with test-time scaling and V2PE where the body asks for them."""
    context = context_of(request)
    engine = ready_engine(context)
    body = await read_json(request, context.settings)
    # A client's own id, of any length, would stand in every chunk. X-Request-Id chooses one within limits.
    body["request_id"] = request.scope["state"]["request_id"]
    principal = principal_of(request)
    budget = Budget(principal.settings, held_bytes(request.scope))
    reply = await until_disconnect(request, answer(context, engine, principal, body, budget))
    if isinstance(reply, dict):
        return await json_reply(reply)
    # The header tells proxies such as nginx to pass each event on at once.
    events = ended_stream(reply, request.scope["state"])
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
