"""Middleware that traces each request but the probes, from its arrival to the end of its reply."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.telemetry.request_record import current_record
from server.telemetry.tracing import CURRENT_TRACE, Tracing

from .access_log import METHODS, PROBES


class Traced:
    """Begins the span of each request, to which the spans of its work belong."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        span = self._tracing.begin_request(method, Headers(scope=scope))
        CURRENT_TRACE.set(span.trace)
        status = None

        async def send_with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        failure: BaseException | None = None
        try:
            await self._app(scope, receive, send_with_status)
        except BaseException as error:
            failure = error
            raise
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            span.rename(f"{method} {route}")
            record = current_record()
            attributes = {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "error.type": record.code,
                "internvl3.request_id": scope["state"].get("request_id"),
                "internvl3.key": record.key,
                "internvl3.prompt_tokens": record.usage.prompt or None,
                "internvl3.completion_tokens": record.usage.completion or None,
                "gen_ai.request.model": record.model,
            }
            span.end(failure, **attributes)
