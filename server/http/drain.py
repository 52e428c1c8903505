"""Stop a server so that no client is left without an answer.

Load balancers learn by /readyz that the server is leaving, and need some seconds for it. Meanwhile it answers
as before. Then it refuses new requests, gives those that run some time, and ends what is left.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from socket import socket

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.errors import shutting_down
from server.protocol.error_forms import error_events

from .error_replies import error_reply
from .metrics_port import ServerBeside
from .streams import STREAM_FAILED

logger = logging.getLogger("internvl3.server")
SHUT_DOWN = "shut_down"  # the key in the request's state under which the access log finds it
REPLY_SECONDS = 1.0  # for a client that doesn't read its reply
LOOK_SECONDS = 0.05  # between two looks at the requests that run
ALWAYS_ANSWERED = ("/livez", "/readyz", "/health", "/metrics")
CONNECTED_SECONDS = 0.25  # for clients that had connected when the listener closed, to send their request
GRACE_SECONDS = 5  # for the work of requests that were ended, before their connections are cut


class RunningRequests:
    """The requests that the server answers now, and whether it takes new ones."""

    def __init__(self) -> None:
        self._requests: set[RunningRequest] = set()
        self.is_leaving = False  # /readyz says so
        self.takes_new = True

    @property
    def are_over(self) -> bool:
        """Whether no request runs."""
        return not self._requests

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
            event = error_events(error, self._scope["path"]).encode()
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
        else:
            await _refusal(self._scope)(self._scope, self._receive, self._send)


def _refusal(scope: Scope) -> JSONResponse:
    reply = error_reply(shutting_down(), scope)
    reply.headers["Connection"] = "close"
    return reply


class EndAtShutdown:
    """Middleware that refuses new requests at the end, and lets `RunningRequests.end` end each request."""

    def __init__(self, app: ASGIApp, running: RunningRequests) -> None:
        self._app = app
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._running.takes_new and scope["path"] not in ALWAYS_ANSWERED:
            await _refusal(scope)(scope, receive, send)
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


def waiting_connections(listener: socket) -> Iterator[socket]:
    """Yield the connections that the kernel has made and nobody has accepted.

    The kernel cuts them when the listener closes, and on a busy server the event loop comes to them too late.
    """
    listener.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


class DrainingServer(uvicorn.Server):
    """uvicorn's server, which stops in the steps that this file is about.

    uvicorn would close its socket at once, and in the end cut the connections of the requests that still run,
    without a word to their clients.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        running: RunningRequests,
        *,
        delay: float,
        drain_seconds: float,
        beside: ServerBeside | None = None,
    ) -> None:
        """Keep how long each step takes.

        Args:
            config: uvicorn's config, whose app contains `EndAtShutdown`.
            running: the requests of that app.
            delay: seconds in which new requests are still answered.
            drain_seconds: seconds after these that running requests have to end.
            beside: another server, which runs as long as this one; None for none.
        """
        super().__init__(config)
        self._running = running
        self._delay = delay
        self._drain_seconds = drain_seconds
        self._beside = beside

    async def serve(self, sockets: list[socket] | None = None) -> None:
        async with nullcontext() if self._beside is None else self._beside.running():
            await super().serve(sockets)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._running.is_leaving = True
        await self._wait(self._delay, lambda: False)
        self._running.takes_new = False
        await self._wait(self._drain_seconds, lambda: self._running.are_over)
        await self._running.end()
        # uvicorn cuts connections that wait for a request, also those whose request is on its way. So who has
        # connected before the listener closes gets a moment to send it, and is told to go elsewhere.
        connected = [connection for each in sockets or () for connection in waiting_connections(each)]
        for listener in self.servers:
            listener.close()
        for connection in connected:
            await self._serve_connection(connection)
        await self._wait(CONNECTED_SECONDS, lambda: not self.server_state.connections)
        await super().shutdown(sockets)

    async def _serve_connection(self, connection: socket) -> None:
        """Serve a connection as if the listener had accepted it."""

        def protocol() -> asyncio.Protocol:
            new: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return new

        with suppress(OSError):  # the client has left, or doesn't speak TLS
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(protocol, connection, ssl=self.config.ssl)

    async def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Wait for this time, until `is_over`, or until the operator's second Ctrl-C."""
        end = asyncio.get_running_loop().time() + seconds
        while not (self.force_exit or is_over()) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(LOOK_SECONDS)
