"""The FastAPI application: its context, routes, error replies and access log."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from server.access.admission import Admission, Priority
from server.access.keys import Keys
from server.access.rate_limits import RATE_HEADERS
from server.batches.worker import working_batches
from server.engine_interface import Engines
from server.errors import ApiError
from server.files.storage import open_storage
from server.http.routes import (
    adapters,
    batches,
    chat,
    completions,
    critic,
    files,
    messages,
    models,
    openapi,
    probes,
    responses,
    tokens,
    uploads,
)
from server.http.routes import metrics as metrics_routes
from server.media.in_flight import BytesInFlight
from server.media.loader import MediaLoader
from server.media.stored import MediaStore
from server.services.context import ServerContext
from server.services.heartbeat import beat
from server.services.service import Service
from server.services.stall import StallWatch
from server.settings import Settings
from server.telemetry.metrics import Metrics
from server.telemetry.tracing import start_tracing

from .access_log import AccessLog
from .authentication import Authentication
from .drain import EndAtShutdown, RunningRequests
from .error_replies import api_error, client_gone, http_error, unexpected_error
from .held_bytes import HoldBytes
from .hosts import AllowedHosts
from .tickets import GiveTickets
from .traced import Traced


def create_app(
    settings: Settings,
    start_engines: Callable[[], Awaitable[Engines]],
    on_loaded: Callable[[Exception | None], None] = lambda failure: None,
    start_phases: Callable[[], Mapping[str, str]] = dict,
) -> FastAPI:
    """Return the app. It answers probes at once, and chat requests when `start_engines` is done.

    Then `on_loaded` is called with None, or with the exception that ended the start. The exception also stays
    in `app.state.service.context.failure`. `start_phases` returns how far the start of each engine is.
    `app.state.running` can end the requests that run.
    """
    metrics = Metrics()
    in_flight = BytesInFlight(
        settings.in_flight_mib, request_mib=min(settings.max_request_mib, settings.in_flight_mib)
    )
    metrics.bytes_in_flight.set_function(lambda: in_flight.used)
    admission = Admission(
        capacity=settings.max_running_tokens,
        max_queued=settings.max_queued,
        queue_seconds=settings.queue_seconds,
        on_admitted=lambda priority, seconds: metrics.queue_seconds.labels(priority.label).observe(seconds),
    )
    keys = Keys(settings, metrics.count_tokens)
    metrics.running_tokens.set_function(lambda: admission.weight)
    for priority in Priority:
        metrics.queued.labels(priority.label).set_function(partial(admission.waiting, priority))
    stored_media = MediaStore(settings.critic_media_mib)
    metrics.stored_media_bytes.set_function(lambda: stored_media.used)
    context = ServerContext(
        settings=settings,
        media=MediaLoader(settings, metrics),
        metrics=metrics,
        stored_media=stored_media,
        started=int(time.time()),
        start_phases=start_phases,
    )

    tracing = start_tracing(settings.otlp_endpoint, os.environ)
    stack = AsyncExitStack()  # of what is open until the app ends

    async def load() -> None:
        try:
            if settings.files is not None:
                storage = await stack.enter_async_context(open_storage(settings))
                app.state.batches = await stack.enter_async_context(
                    working_batches(
                        app.state.service,
                        storage,
                        keys,
                        in_flight,
                        admission,
                        lambda: app.state.running.is_leaving,
                        tracing,
                    )
                )
                app.state.uploads = storage.uploads
                context.files = storage.files
            context.engines = await start_engines()
            context.watches = {
                title: StallWatch(steps, settings.stall_seconds)
                for title, steps in context.engines.steps.items()
            }
        except Exception as error:
            context.failure = error
        on_loaded(context.failure)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(load()), asyncio.create_task(beat(context))]
        yield
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await stack.aclose()
        if context.engines is not None:
            await context.engines.close()
        context.media.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)

    # FastAPI would know nothing of the bodies: server/http/openapi.py writes the document.
    app = FastAPI(title="internvl3-serving", lifespan=lifespan, openapi_url=None)
    app.state.service = Service(context)
    app.state.running = RunningRequests()
    routers = (
        chat,
        completions,
        responses,
        messages,
        critic,
        tokens,
        files,
        uploads,
        batches,
        adapters,
        models,
        openapi,
        probes,
    )
    for routes in routers:
        app.include_router(routes.router)
    if settings.metrics_port is None:
        app.include_router(metrics_routes.router)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientDisconnect, client_gone)
    app.add_middleware(EndAtShutdown, running=app.state.running)
    app.add_middleware(Authentication, keys=keys)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=[
                "X-Request-Id",
                "openai-processing-ms",
                "Retry-After",
                "x-should-retry",
                *RATE_HEADERS,
            ],
        )
    app.add_middleware(GiveTickets, admission=admission)
    app.add_middleware(HoldBytes, in_flight=in_flight)
    app.add_middleware(AllowedHosts, settings=settings)
    if tracing is not None:
        app.add_middleware(Traced, tracing=tracing)
    app.add_middleware(AccessLog, metrics=metrics, reply_to_bug=unexpected_error)
    return app
