"""Connections to the server: how many there may be, and how long a client may be silent or not read."""

import asyncio
import json
import logging
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.errors import error_body

logger = logging.getLogger("internvl3.server")


def limited_protocol(
    *,
    head_seconds: float,
    write_seconds: float,
    max_connections: int,
    count_closed: Callable[[str], None] = lambda reason: None,
) -> type[H11Protocol]:
    """Return uvicorn's protocol with OpenAI's error body, and with three limits that uvicorn does not have.

    - A connection is closed when it has not sent the whole head of a request `head_seconds` after it was
      opened, or after the first byte of a later head. (Between two requests uvicorn's own
      `timeout_keep_alive` holds, and the body has a limit of its own.)
    - A connection is closed when its client has read nothing of a reply for `write_seconds`. Then uvicorn
      tells the app that the client has left, which ends the generation. Until then the app waits with one
      event, so a reply that nobody reads takes no more memory.
    - Beyond `max_connections` a new connection is closed at once.

    `count_closed` gets the reason of each such end: "head", "unread" or "full".
    """

    class LimitedProtocol(H11Protocol):
        _head_timer: asyncio.TimerHandle | None = None
        _read_timer: asyncio.TimerHandle | None = None
        _unread = 0  # bytes of the reply that the kernel didn't take when the timer was set

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > max_connections:
                logger.warning("a connection was closed: there are %d already", max_connections)
                count_closed("full")
                transport.abort()
                return
            # Whatever the kernel doesn't take pauses the app. With 0, TLS would never resume it.
            transport.set_write_buffer_limits(high=1, low=0)
            self._watch_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head()

        def send_400_response(self, msg: str) -> None:
            """Refuse what is no HTTP. uvicorn would fail here if a reply was already begun."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                error = error_body(f"{msg} Send a valid HTTP/1.1 request.", status=400, code="invalid_http")
                body = json.dumps(error).encode()
                headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
                reply = h11.Response(status_code=400, headers=[*headers, ("connection", "close")])
                for event in (reply, h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event))
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_head_timer()
            self._stop_read_timer()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reading()

        def resume_writing(self) -> None:
            self._stop_read_timer()
            super().resume_writing()

        def _watch_head(self) -> None:
            if self.conn.their_state is not h11.IDLE:  # the head is complete, or the connection at its end
                self._stop_head_timer()
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(head_seconds, self._close_silent)

        def _stop_head_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _close_silent(self) -> None:
            count_closed("head")
            self.transport.close()

        def _watch_reading(self) -> None:
            self._unread = self.transport.get_write_buffer_size()
            self._read_timer = self.loop.call_later(write_seconds, self._close_unread)

        def _stop_read_timer(self) -> None:
            if self._read_timer is not None:
                self._read_timer.cancel()
                self._read_timer = None

        def _close_unread(self) -> None:
            if self.transport.get_write_buffer_size() < self._unread:  # the client reads, if slowly
                self._watch_reading()
                return
            logger.warning("a connection was closed: its client read nothing for %g seconds", write_seconds)
            count_closed("unread")
            self.transport.abort()

    return LimitedProtocol
