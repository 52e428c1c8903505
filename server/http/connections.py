"""Connections to the server: how many there may be, and how long a client may be silent or not read."""

import asyncio
import json
import logging
from collections.abc import Callable

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.errors import error_body

from .heads import check_host, check_size, refusal, without_upgrade

logger = logging.getLogger("internvl3.server")


def limited_protocol(
    *,
    head_seconds: float,
    write_seconds: float,
    max_connections: int,
    max_head_bytes: int,
    count_closed: Callable[[str], None] = lambda reason: None,
) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with OpenAI's error body, and with four limits that uvicorn does not have.

    - A connection is closed when it has not sent the whole head of a request `head_seconds` after it was
      opened, or after the first byte of a later head. (Between two requests uvicorn's own
      `timeout_keep_alive` holds, and the body has a limit of its own.)
    - A head of more than `max_head_bytes` is refused.
    - A connection is closed when its client has read nothing of a reply for `write_seconds`. Then uvicorn
      tells the app that the client has left, which ends the generation. Until then the app waits with one
      event, so a reply that nobody reads takes no more memory.
    - Beyond `max_connections` a new connection is closed at once.

    A request that offers another protocol is answered in HTTP/1.1. (uvicorn would lose its body here. Java's
    HttpClient offers HTTP/2 with every request.)

    `count_closed` gets the reason of each such end: "head", "unread" or "full".
    """

    class LimitedProtocol(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _read_timer: asyncio.TimerHandle | None = None
        _unread = 0  # bytes of the reply that the kernel didn't take when the timer was set
        _head_is_whole = False  # also of the last request, until another one begins
        _head_bytes = 0  # at least as many as have come of a head that isn't whole
        _reads_body = False

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
            self._unset_keepalive_if_required()
            try:
                self.parser.feed_data(data)
                self._head_bytes = 0 if self._head_is_whole else self._head_bytes + len(data)
                check_size(self._head_bytes, max_head_bytes)
            except httptools.HttpParserUpgrade as upgrade:
                self._go_on_without_upgrade(data[upgrade.args[0] :])
            except (httptools.HttpParserError, ValueError) as error:
                self.send_400_response(str(error.__context__ or error))
            else:
                self._watch_head()

        def on_message_begin(self) -> None:
            self._head_is_whole = False
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._head_is_whole = True
            self._reads_body = True
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            check_size(size, max_head_bytes)
            check_host(self.parser.get_method(), self.parser.get_http_version(), self.headers)
            if not self.parser.should_upgrade():
                super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._reads_body = False
            if not self.parser.should_upgrade():
                super().on_message_complete()

        def _go_on_without_upgrade(self, rest: bytes) -> None:
            """Read the request again as if it offered no other protocol; `rest` follows its head."""
            head = without_upgrade(self.parser.get_method(), self.url, self.headers)
            self.parser = httptools.HttpRequestParser(self)
            self.data_received(head + rest)

        def send_400_response(self, msg: str) -> None:
            """Refuse what is no HTTP. If its reply has begun, only close the connection."""
            has_ended = self.cycle is None or (self.cycle.response_complete and not self._reads_body)
            if has_ended or not self.cycle.response_started:
                error = error_body(f"{msg}. Send a valid HTTP/1.1 request.", status=400, code="invalid_http")
                self.transport.write(refusal(json.dumps(error).encode()))
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
            if self._head_is_whole:
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
