"""TODO: what this file is about."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from server.http.request import context_of, read_json, ready_engine, until_disconnect
from server.protocol.chat_call import parse_call
from server.services import chat

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions, with test-time scaling and V2PE."""
    state = context_of(request)
    engine = ready_engine(state)
    body = await read_json(request, state.settings)
    body.setdefault("request_id", request.scope["state"]["request_id"])
    call = parse_call(body, state.settings)

    async def answer() -> Response:
        with state.metrics.media_seconds.time():
            messages, videos = await state.media.load(call.body["messages"], call.video, engine.tiling)
        checked = call.with_media(messages, videos)
        if not call.stream:
            return JSONResponse(await chat.complete(engine, checked, state.metrics))
        events = await chat.stream(engine, checked, state.metrics)
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return await until_disconnect(request, answer())
