"""The FastAPI application: state, lifecycle, error bodies, and one line of account per request."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .engine import Engine
from .errors import ApiError, error_body, internal_error
from .media import Media
from .metrics import Metrics
from .routes import router
from .settings import Settings
from .state import State

logger = logging.getLogger("internvl3.server")
REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
PROBES = ("/livez", "/readyz", "/health", "/metrics")  # asked every few seconds
CLIENT_CLOSED = 499  # nobody reads it; the log and the metrics do


def create_app(
    settings: Settings,
    start_engine: Callable[[], Awaitable[Engine]],
    on_loaded: Callable[[Exception | None], None] = lambda failure: None,
) -> FastAPI:
    """The app. It answers probes at once and chats when `start_engine` is done.

    `on_loaded` is told then, or why it failed; the failure also stays in `app.state.internvl3.failure`.
    """
    metrics = Metrics()
    state = State(
        settings=settings, media=Media(settings, metrics), metrics=metrics, started=int(time.time())
    )

    async def load() -> None:
        try:
            state.engine = await start_engine()
        except Exception as error:
            state.failure = error
        on_loaded(state.failure)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(load())
        yield
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        if state.engine is not None:
            state.engine.close()
        state.media.close()

    # No generated documentation: it would list what a stranger may try, and names none of vLLM's fields.
    app = FastAPI(title="internvl3-serving", lifespan=lifespan, openapi_url=None)
    app.state.internvl3 = state
    app.include_router(router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(_Account, metrics=state.metrics)
    return app


class _Account:
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


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    headers = {"Retry-After": "5"} if error.status == 503 else None
    return JSONResponse(error.body, status_code=error.status, headers=headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """What routing refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    asked = f"{request.method} {request.scope['path'][:100]}"
    message = {
        404: f"There is no {asked}. See GET /v1/models and POST /v1/chat/completions.",
        405: f"{asked}: this path takes another method.",
    }.get(error.status_code, str(error.detail))
    return JSONResponse(
        error_body(message, status=error.status_code), status_code=error.status_code, headers=error.headers
    )


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED)


async def _unexpected(request: Request, error: Exception) -> Response:
    """A bug. The stack goes to the log (by Starlette, which raises it again), never to the client."""
    failure = internal_error()
    return JSONResponse(failure.body, status_code=failure.status)
