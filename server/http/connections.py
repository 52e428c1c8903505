"""Connections to the server: how many there may be, and how long a request's head may take to arrive."""

import asyncio
import logging

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

logger = logging.getLogger("internvl3.server")


def limited_protocol(*, head_seconds: float, max_connections: int) -> type[H11Protocol]:
    """Return uvicorn's protocol with two limits that uvicorn does not have.

    A connection is closed when it has not sent the whole head of a request `head_seconds` after it was
    opened, or after the first byte of a later head. (Between two requests uvicorn's own `timeout_keep_alive`
    holds, and the body has a limit of its own.) Beyond `max_connections` a new connection is closed at once.
    """

    class LimitedProtocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                logger.warning("a connection was closed: there are %d already", max_connections)
                transport.abort()
                return
            self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def _watch_head(self) -> None:
            if self.conn.their_state is not h11.IDLE:  # the head is complete, or the connection at its end
                self._stop_timer()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(head_seconds, self._close)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _close(self) -> None:
            self.transport.close()

    return LimitedProtocol
