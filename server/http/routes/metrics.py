"""TODO: what this file is about."""

from fastapi import APIRouter, Request, Response

from server.http.request import context_of

router = APIRouter()


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """The server's figures and the engines', in Prometheus' text format."""
    state = context_of(request)
    engines = b""
    if state.engine is not None:
        engines = state.engine.metrics()
        state.metrics.engine_up.labels("policy").set(state.engine.alive)
        if state.engine.critic is not None:
            state.metrics.engine_up.labels("critic").set(state.engine.critic_alive)
    return Response(state.metrics.render() + engines, media_type="text/plain; version=0.0.4; charset=utf-8")
