"""The route of the Prometheus metrics."""

from fastapi import APIRouter, Request, Response

from server.http.request import service_of

router = APIRouter()


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics of the server and of its engines in Prometheus' text format."""
    context = service_of(request).context
    of_engines = b""
    if context.engines is not None:
        of_engines = context.engines.metrics()
        for title, engine in (("policy", context.engines.policy), ("critic", context.engines.critic)):
            if engine is not None:
                context.metrics.engine_up.labels(title).set(engine.alive)
    for title, watch in context.watches.items():
        context.metrics.stalled_seconds.labels(title).set(watch.seconds)
    return Response(
        context.metrics.render() + of_engines, media_type="text/plain; version=0.0.4; charset=utf-8"
    )
