"""Middleware that gives each request an id, counts it, and writes its line to the log."""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.telemetry.metrics import Metrics
from server.telemetry.request_record import CURRENT_RECORD, RequestRecord

from .drain import SHUT_DOWN
from .error_replies import CLIENT_CLOSED
from .streams import STREAM_FAILED

logger = logging.getLogger("internvl3.server")
REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
# Called every few seconds, the last one by other servers, so logged as debug.
PROBES = ("/livez", "/readyz", "/health", "/metrics", "/v1/critic")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")  # a client could send any word
DONE, LEFT, ERROR = "done", "left", "error"  # the outcomes of a stream


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
        record = RequestRecord()
        CURRENT_RECORD.set(record)
        status, is_complete, is_stream = CLIENT_CLOSED, False, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_complete, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(
                    name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in message["headers"]
                )
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
            seconds = time.perf_counter() - begun
            # The metrics take the route's template: clients could send any number of different paths.
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.count_request(route, status, seconds, record.code)
            end = self._end(state, status, is_complete=is_complete)
            if is_stream:
                failed = state.get(SHUT_DOWN) or state.get(STREAM_FAILED)
                outcome = LEFT if end == "client left" else ERROR if failed else DONE
                self._metrics.streams.labels(route, outcome).inc()
            _log(scope, route, status, seconds, end, record)

    def _end(self, state: dict[str, Any], status: int, *, is_complete: bool) -> str:
        """Return how a request ended if it didn't end with its reply, and count that."""
        if state.get(SHUT_DOWN):
            return "ended by the shutdown"
        if status == CLIENT_CLOSED or not is_complete:
            self._metrics.cancelled.inc()
            return "client left"
        return "error in the stream" if state.get(STREAM_FAILED) else ""


def _log(scope: Scope, route: str, status: int, seconds: float, end: str, record: RequestRecord) -> None:
    level = logging.DEBUG if route in PROBES else logging.INFO
    if not logger.isEnabledFor(level):
        return
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    request_id = scope["state"]["request_id"]
    known = record.known()
    text = "".join(f" {name}={value}" for name, value in known.items())
    line = f"{method} {route} {status} {seconds:.3f}s {request_id}{f' {end}' if end else ''}{text}"
    place = {"request_id": request_id, "method": method, "route": route, "status": status}
    times = {"seconds": round(seconds, 3), **({"end": end} if end else {})}
    logger.log(level, "%s", line, extra={"fields": place | times | known})


def _request_id(scope: Scope) -> str:
    """Return the client's own id if it is short and plain, else a new one."""
    client_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return client_id if REQUEST_ID.fullmatch(client_id) else uuid4().hex
