"""TODO: what this file is about."""

import logging
import re
import time
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.telemetry.metrics import Metrics

logger = logging.getLogger("internvl3.server")
REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
PROBES = ("/livez", "/readyz", "/health", "/metrics")  # asked every few seconds
CLIENT_CLOSED = 499  # nobody reads it; the log and the metrics do


class AccessLog:
    """Gives a request its id and counts it. Plain ASGI: it must not buffer streams."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        wanted = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = wanted if REQUEST_ID.fullmatch(wanted) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = CLIENT_CLOSED

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("latin-1"))]
            await send(message)

        begun = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - begun
            # The route's template, never the path: paths are the client's to choose, without end.
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(seconds)
            if status == CLIENT_CLOSED:
                self._metrics.cancelled.inc()
            level = logging.DEBUG if route in PROBES else logging.INFO
            logger.log(level, "%s %s %d %.3fs %s", scope["method"], route, status, seconds, request_id)
