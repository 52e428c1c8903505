"""The FastAPI application: state, lifecycle, error bodies, and one line of account per request."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from server.engine_interface import Engine
from server.errors import ApiError
from server.http.routes import chat, critic, models, probes
from server.http.routes import metrics as metrics_routes
from server.media.loader import MediaLoader
from server.services.context import ServerContext
from server.settings import Settings
from server.telemetry.metrics import Metrics

from .access_log import AccessLog
from .error_replies import api_error, client_gone, http_error, unexpected_error


def create_app(
    settings: Settings,
    start_engine: Callable[[], Awaitable[Engine]],
    on_loaded: Callable[[Exception | None], None] = lambda failure: None,
) -> FastAPI:
    """The app. It answers probes at once and chats when `start_engine` is done.

    `on_loaded` is told then, or why it failed; the failure also stays in `app.state.internvl3.failure`.
    """
    metrics = Metrics()
    state = ServerContext(
        settings=settings, media=MediaLoader(settings, metrics), metrics=metrics, started=int(time.time())
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
    for routes in (chat, critic, models, probes, metrics_routes):
        app.include_router(routes.router)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_exception_handler(Exception, unexpected_error)
    app.add_middleware(AccessLog, metrics=state.metrics)
    return app
