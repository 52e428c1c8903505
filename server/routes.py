"""The endpoints. Each reads its request, calls what does the work, and shapes the reply; nothing is decided
here.
"""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from . import chat
from .call import parse_call, served_models
from .engine import Engine
from .errors import model_not_found, not_ready, stopped
from .intake import read_json, until_disconnect
from .scoring import score
from .state import State

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completions, with test-time scaling and V2PE."""
    state = _state(request)
    engine = _engine(state)
    body = await read_json(request, state.settings)
    body.setdefault("request_id", request.scope["state"]["request_id"])
    call = parse_call(body, state.settings)

    async def answer() -> Response:
        with state.metrics.media_seconds.time():
            messages, videos = await state.media.inline(call.body["messages"], call.video, engine.tiling)
        checked = call.with_media(messages, videos)
        if not call.stream:
            return JSONResponse(await chat.complete(engine, checked, state.metrics))
        events = await chat.stream(engine, checked, state.metrics)
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return await until_disconnect(request, answer())


@router.post("/v1/critic/score")
async def critic_score(request: Request) -> Response:
    """The critic's scores of answers that are given."""
    state = _state(request)
    engine = _engine(state)
    body = await read_json(request, state.settings)
    return JSONResponse(await until_disconnect(request, score(engine, body, state)))


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The served name and its Best-of-8 alias."""
    state = _state(request)
    return {"object": "list", "data": [_card(state, name) for name in served_models(state.settings)]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    state = _state(request)
    served = served_models(state.settings)
    if name not in served:
        raise model_not_found(name, served)
    return _card(state, name)


@router.get("/livez")
async def livez(request: Request) -> dict[str, str]:
    """The process answers, from the first second, while models still load. No more once the policy's process
    has died: only a restart helps then.
    """
    engine = _state(request).engine
    if engine is not None and not engine.alive:
        raise stopped()
    return {"status": "ok"}


@router.get("/readyz")
@router.get("/health")
async def readyz(request: Request) -> dict[str, str]:
    """Requests will be answered. Without its critic the server still does, as `on_critic_error` says."""
    engine = _engine(_state(request))
    return {"status": "ok"} if engine.critic_alive else {"status": "degraded", "critic": "stopped"}


@router.get("/version")
async def server_version() -> dict[str, str]:
    return {"version": version("internvl3-serving")}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """The server's figures and the engines', in Prometheus' text format."""
    state = _state(request)
    engines = b""
    if state.engine is not None:
        engines = state.engine.metrics()
        state.metrics.engine_up.labels("policy").set(state.engine.alive)
        if state.engine.critic is not None:
            state.metrics.engine_up.labels("critic").set(state.engine.critic_alive)
    return Response(state.metrics.render() + engines, media_type="text/plain; version=0.0.4; charset=utf-8")


def _state(request: Request) -> State:
    state = request.app.state.internvl3
    assert isinstance(state, State)
    return state


def _engine(state: State) -> Engine:
    """The engine, if it can answer."""
    if state.engine is None:
        raise not_ready()
    if not state.engine.alive:
        raise stopped()
    return state.engine


def _card(state: State, name: str) -> dict[str, Any]:
    """OpenAI's model object, with the window as vLLM's has it."""
    window = None if state.engine is None else state.engine.max_model_len
    return {
        "id": name,
        "object": "model",
        "created": state.started,
        "owned_by": "internvl3-serving",
        "max_model_len": window,
    }
