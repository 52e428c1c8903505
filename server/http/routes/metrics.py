"""The route of the Prometheus metrics."""

from fastapi import APIRouter, Request, Response

from server.http.request import service_of

router = APIRouter()


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics of the server and of its engines in Prometheus' text format."""
    context = service_of(request).context
    engines = b""
    if context.engine is not None:
        engines = context.engine.metrics()
        context.metrics.engine_up.labels("policy").set(context.engine.alive)
        if context.engine.critic is not None:
            context.metrics.engine_up.labels("critic").set(context.engine.critic_alive)
    return Response(context.metrics.render() + engines, media_type="text/plain; version=0.0.4; charset=utf-8")
