"""Middleware that gives each request an id, counts it, and writes its line to the log."""

import logging
import re
import time
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.telemetry.metrics import Metrics

logger = logging.getLogger("internvl3.server")
REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
PROBES = ("/livez", "/readyz", "/health", "/metrics")  # called every few seconds, so logged as debug
CLIENT_CLOSED = 499  # the client has left; the status is for the log and the metrics


class AccessLog:
    """Gives a request its id, counts it and logs it. It is plain ASGI because it must not buffer streams."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        client_id = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = client_id if REQUEST_ID.fullmatch(client_id) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = CLIENT_CLOSED

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("latin-1"))]
            await send(message)

        begun = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - begun
            # The metrics take the route's template: clients could send any number of different paths.
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(seconds)
            if status == CLIENT_CLOSED:
                self._metrics.cancelled.inc()
            level = logging.DEBUG if route in PROBES else logging.INFO
            logger.log(level, "%s %s %d %.3fs %s", scope["method"], route, status, seconds, request_id)
