"""The app on a fake engine, reached directly or through a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from server.access.admission import Admission, Priority, Ticket
from server.engine_interface import Engines
from server.http.app import create_app
from server.settings import Settings
from tests.server.fakes import FakeEngine, engines_of


def settings(**chosen: Any) -> Settings:
    return Settings(**chosen)


def app_with(engine: FakeEngine | Engines, **chosen: Any) -> FastAPI:
    """Return the app on a fake policy with its fake critic, or on other engines."""

    async def start() -> Engines:
        return engine if isinstance(engine, Engines) else engines_of(engine)

    return create_app(settings(**chosen), start)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that reaches the app directly, inside the app's lifespan. A bug shows as status 500."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)  # the fake engine loads in this turn
        await _opened_files(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def _opened_files(app: FastAPI) -> None:
    """Wait until the database of an app with --files is open."""
    context = app.state.service.context
    while context.settings.files is not None and context.engines is None:
        assert context.failure is None, context.failure
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Serve the app on a real socket, so that a client can close its connection, and yield the base URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


def question(**extra: Any) -> dict[str, Any]:
    return {"model": "nano", "messages": [{"role": "user", "content": "How many?"}], **extra}


def events_of(text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the comments and the chunks of a stream that ends with [DONE]."""
    lines = [line for line in text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    comments = [line[2:] for line in lines if line.startswith(": ")]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1] if line.startswith("data: ")]
    assert len(comments) + len(chunks) == len(lines) - 1
    return comments, chunks


def free_ticket() -> Ticket:
    """Return the ticket of a request that finds a server without others."""
    return Ticket(Admission(capacity=1, max_queued=0, queue_seconds=1), Priority.INTERACTIVE)
