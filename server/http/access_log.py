"""Middleware that gives each request an id, counts it, and writes its line to the log."""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.telemetry.metrics import Metrics

from .drain import SHUT_DOWN
from .error_replies import CLIENT_CLOSED
from .streams import STREAM_FAILED

logger = logging.getLogger("internvl3.server")
REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
PROBES = ("/livez", "/readyz", "/health", "/metrics")  # called every few seconds, so logged as debug


Handler = Callable[[Request, Exception], Awaitable[Response]]


class AccessLog:
    """Gives a request its id, counts it and logs it. It is plain ASGI because it must not buffer streams.

    It stands outside of all exception handlers, so it replies itself to an exception that they don't know, by
    `reply_to_bug`, and then raises it again: uvicorn writes its stack to the log.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, reply_to_bug: Handler) -> None:
        self._app = app
        self._metrics = metrics
        self._reply_to_bug = reply_to_bug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(scope)
        status, is_complete = CLIENT_CLOSED, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_complete
            if message["type"] == "http.response.start":
                status = message["status"]
                milliseconds = int(1000 * (time.perf_counter() - begun))
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode("latin-1")),
                    (b"openai-processing-ms", str(milliseconds).encode("latin-1")),  # as OpenAI's API says it
                ]
            elif message["type"] == "http.response.body":
                is_complete = not message.get("more_body", False)
            await send(message)

        begun = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if status == CLIENT_CLOSED:  # no reply has begun
                reply = await self._reply_to_bug(Request(scope), error)
                await reply(scope, receive, send_with_id)
            raise
        finally:
            self._metrics.in_flight.dec()
            self._record(scope, status, is_complete, time.perf_counter() - begun)

    def _record(self, scope: Scope, status: int, is_complete: bool, seconds: float) -> None:
        # The metrics take the route's template: clients could send any number of different paths.
        route = getattr(scope.get("route"), "path", "unknown")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        end = ""
        state = scope["state"]
        if state.get(SHUT_DOWN):
            end = " ended by the shutdown"
        elif status == CLIENT_CLOSED or not is_complete:
            self._metrics.cancelled.inc()
            end = " client left"
        elif state.get(STREAM_FAILED):
            end = " error in the stream"
        if state.get(STREAM_FAILED):
            self._metrics.stream_errors.labels(route).inc()
        level = logging.DEBUG if route in PROBES else logging.INFO
        request_id = state["request_id"]
        logger.log(level, "%s %s %d %.3fs %s%s", scope["method"], route, status, seconds, request_id, end)


def _request_id(scope: Scope) -> str:
    """Return the client's own id if it is short and plain, else a new one."""
    client_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return client_id if REQUEST_ID.fullmatch(client_id) else uuid4().hex
