"""A second listener with nothing but /metrics, for a network that clients don't reach."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from socket import socket

import uvicorn
from fastapi import FastAPI

from server.services.service import Service
from server.settings import Settings

from .hosts import AllowedHosts
from .routes import metrics as metrics_routes


class ServerBeside(uvicorn.Server):
    """uvicorn's server on one socket, which leaves the signals to the server that it runs beside."""

    def __init__(self, config: uvicorn.Config, listener: socket) -> None:
        super().__init__(config)
        self._listener = listener

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve while the block runs."""
        serving = asyncio.create_task(self.serve([self._listener]))
        try:
            yield
        finally:
            self.should_exit = True
            await serving

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def create_metrics_app(settings: Settings, service: Service) -> FastAPI:
    """Return an app whose only route is /metrics. It needs no API key."""
    app = FastAPI(openapi_url=None)
    app.state.service = service
    app.include_router(metrics_routes.router)
    app.add_middleware(AllowedHosts, settings=settings)
    return app
