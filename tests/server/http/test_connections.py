"""Connections are bounded in number, in the time for a request's head, and in the time without reading."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn

from server.http.connections import limited_protocol
from server.launch import MAX_HEADER_BYTES
from tests.server.apps import app_with, question
from tests.server.fakes import FakeEngine

CHAT = "/v1/chat/completions"
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def listening(
    *,
    head_seconds: float = 10,
    write_seconds: float = 10,
    max_connections: int = 10,
    engine: FakeEngine | None = None,
    closed: list[str] | None = None,
) -> AsyncIterator[int]:
    """The port of the app behind the limited protocol; `closed` gets the reasons of closed connections."""
    http = limited_protocol(
        head_seconds=head_seconds,
        write_seconds=write_seconds,
        max_connections=max_connections,
        max_head_bytes=MAX_HEADER_BYTES,
        count_closed=(list[str]() if closed is None else closed).append,
    )
    app = app_with(engine or FakeEngine(["yes"]))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", http=http)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def test_half_a_head_is_not_waited_for():
    closed: list[str] = []
    async with listening(head_seconds=0.2, closed=closed) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        assert await reader.read() == b"", "the connection was closed without a reply"
    assert closed == ["head"]


async def test_a_connection_without_a_byte_is_not_kept():
    async with listening(head_seconds=0.2, max_connections=10) as port:
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""


async def test_a_second_head_has_the_limit_too():
    async with listening(head_seconds=0.2, max_connections=10) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        writer.write(HEAD)
        assert await reader.read() == b""


async def test_whole_requests_are_answered_for_longer_than_the_limit():
    async with listening(head_seconds=0.2, max_connections=10) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            writer.write(HEAD + b"\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.1)
        writer.close()


async def test_connections_beyond_the_limit_are_closed():
    async with listening(head_seconds=5, max_connections=2) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.05)
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        first_reader, first_writer = held[0]
        first_writer.write(HEAD + b"\r\n")
        assert (await first_reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.close()


class Endless(FakeEngine):
    """Streams events of 64 KiB without end, and counts them."""

    events = 0
    ended = False

    async def stream(
        self, body: Any, choose: Any = None, *, media: Any, count: Any
    ) -> AsyncGenerator[str, None]:
        return self._endless()

    async def _endless(self) -> AsyncGenerator[str, None]:
        try:
            while True:
                self.events += 1
                await asyncio.sleep(0)
                yield "data: {}\n\n".ljust(2**16, "\n")
        finally:
            self.ended = True


def stream_request() -> bytes:
    body = json.dumps(question(stream=True)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_client_that_reads_nothing_is_left_and_its_generation_ended():
    """Once the connection, and the generation with it, was kept for as long as the client liked."""
    engine, closed = Endless(["yes"]), list[str]()
    async with listening(write_seconds=0.5, engine=engine, closed=closed) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(stream_request())
            await until(lambda: engine.ended)
            assert closed == ["unread"]
            produced = engine.events
            await asyncio.sleep(0.1)
            assert engine.events == produced
    assert produced < 1000, "the reply that nobody read took little memory"


async def test_a_client_that_reads_slowly_is_not_left():
    """Each pause is shorter than the limit, and all of them together are longer."""
    engine, closed = Endless(["yes"]), list[str]()
    async with listening(write_seconds=0.5, engine=engine, closed=closed) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        writer.write(stream_request())
        for _ in range(8):
            await asyncio.sleep(0.2)
            await reader.readexactly(2**20)
        assert not engine.ended and not closed
        writer.close()
        await until(lambda: engine.ended)


NO_HTTP = {
    "no HTTP": b"\xff\xfe\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "a bad header": HEAD + b"X y: a\r\n\r\n",
    "two hosts": HEAD + b"Host: localhost\r\n\r\n",
    "a proxy's method": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
    "an endless head": HEAD + b"X: " + b"a" * (MAX_HEADER_BYTES + 100),
    "a large head": HEAD + b"X: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"X-%d: a\r\n" % index for index in range(6_200)) + b"\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a length and chunks": HEAD.replace(b"GET /livez", b"POST " + CHAT.encode())
    + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
    "a bad chunk": HEAD.replace(b"GET /livez", b"POST " + CHAT.encode())
    + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", NO_HTTP)
async def test_what_is_no_http_gets_openais_error_body(name: str):
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(NO_HTTP[name])
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"application/json" in head
    assert json.loads(body)["error"]["code"] == "invalid_http"


async def test_a_body_that_turns_bad_behind_the_reply_closes_the_connection(caplog: pytest.LogCaptureFixture):
    """uvicorn alone begins a second reply here, and the log gets a stack."""
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = HEAD.replace(b"GET /livez", b"POST " + CHAT.encode()) + b"Content-Type: text/plain\r\n"
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 415")
        writer.write(b"zz\r\n")
        assert await reader.read() == b""
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_request_that_offers_http_2_is_answered_with_its_body():
    """Java's HttpClient offers it with every request. uvicorn alone would wait for the body for ever."""
    body = json.dumps(question()).encode()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAA\r\n"
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % CHAT.encode()
    request = head + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body
    async with listening() as port:
        for pieces in ([request], [request[:-3], request[-3:]], [request[:100], request[100:]]):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.05)
            writer.write(HEAD + b"\r\n")  # the connection can be used again
            answer = await reader.readuntil(b'"yes"')
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"HTTP/1.1 200" in await reader.readuntil(b'"status"')
            writer.close()


async def test_a_websocket_is_answered_as_the_plain_request_that_it_is():
    offer = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + offer + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")


async def test_requests_behind_each_other_are_answered_in_order():
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            (HEAD + b"\r\n") * 3 + HEAD.replace(b"/livez", b"/nowhere") + b"Connection: close\r\n\r\n"
        )
        replies = (await reader.read()).split(b"HTTP/1.1 ")[1:]
        assert [reply[:3] for reply in replies] == [b"200", b"200", b"200", b"404"]
