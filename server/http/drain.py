"""End the requests that still run when the time is over that a stopping server gives them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from socket import socket

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import shutting_down
from server.protocol.event_stream import DONE, write_event

from .streams import STREAM_FAILED

logger = logging.getLogger("internvl3.server")
SHUT_DOWN = "shut_down"  # the key in the request's state under which the access log finds it
REPLY_SECONDS = 1.0  # for a client that doesn't read its reply
GRACE_SECONDS = 5  # for the work of requests that were ended, before their connections are cut


class RunningRequests:
    """The requests that the server answers now."""

    def __init__(self) -> None:
        self._requests: set[RunningRequest] = set()

    def add(self, request: "RunningRequest") -> None:
        self._requests.add(request)

    def remove(self, request: "RunningRequest") -> None:
        self._requests.discard(request)

    async def end(self) -> None:
        """Tell each client that the server is shutting down, and cancel the work on its request."""
        requests = list(self._requests)
        if requests:
            logger.warning("the time to drain is over: %d running requests are ended", len(requests))
        outcomes = await asyncio.gather(*(request.end() for request in requests), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                logger.error("a request could not be ended", exc_info=outcome)


class RunningRequest:
    """One request: what was sent of its reply, and the means to end it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: asyncio.Timeout) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = limit
        self._sending = asyncio.Lock()  # a client that reads slowly lets a message wait
        self._begun = False
        self._is_stream = False
        self._is_complete = False  # all of the reply was sent
        self.is_ended = False  # by the shutdown
        self.is_over = False  # the application has returned

    async def send(self, message: Message) -> None:
        """Pass a message of the application on; nothing passes once the shutdown has ended the request."""
        async with self._sending:
            if self.is_ended:
                return
            if message["type"] == "http.response.start":
                types = [value for name, value in message["headers"] if name.lower() == b"content-type"]
                self._begun = True
                self._is_stream = any(value.startswith(b"text/event-stream") for value in types)
            await self._send(message)
            self._is_complete = message["type"] == "http.response.body" and not message.get("more_body")

    async def end(self) -> None:
        """Send the error as the reply or, in a stream, as an event; then cancel the application's work.

        A reply that is no stream and has begun is complete but for its way to the client, and is left alone.
        """
        if self._begun and not self._is_stream:
            return
        self.is_ended = True
        self._scope["state"][SHUT_DOWN] = True
        try:
            async with asyncio.timeout(REPLY_SECONDS), self._sending:
                if not self._is_complete:
                    await self._tell()
        except TimeoutError:
            pass  # the client doesn't read, and its connection is cut with the process
        if not self.is_over:
            self._limit.reschedule(0)

    async def _tell(self) -> None:
        error = shutting_down()
        if self._begun:
            self._scope["state"][STREAM_FAILED] = True
            event = (write_event(error.body) + DONE).encode()
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
        else:
            reply = JSONResponse(error.body, status_code=error.status, headers={"Retry-After": "5"})
            await reply(self._scope, self._receive, self._send)


class EndAtShutdown:
    """Middleware that lets `RunningRequests.end` end each request."""

    def __init__(self, app: ASGIApp, running: RunningRequests) -> None:
        self._app = app
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = asyncio.timeout(None)
        request = RunningRequest(scope, receive, send, limit)
        self._running.add(request)
        try:
            async with limit:
                await self._app(scope, receive, request.send)
        except (TimeoutError, asyncio.CancelledError):
            if not request.is_ended:
                raise
        finally:
            request.is_over = True
            self._running.remove(request)


class DrainingServer(uvicorn.Server):
    """uvicorn's server; `end_requests` is called `drain_seconds` after it was told to stop.

    uvicorn would cut the connections of the requests that still run, without a word to their clients.
    """

    def __init__(
        self, config: uvicorn.Config, end_requests: Callable[[], Awaitable[None]], drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._end_requests = end_requests
        self._drain_seconds = drain_seconds

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        async def end_later() -> None:
            await asyncio.sleep(self._drain_seconds)
            await self._end_requests()

        ending = asyncio.create_task(end_later())
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
