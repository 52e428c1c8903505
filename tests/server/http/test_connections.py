"""Connections are bounded in number, and in the time that a request's head may take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn

from server.http.connections import limited_protocol
from tests.server.apps import app_with
from tests.server.fakes import FakeEngine

HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def listening(*, head_seconds: float, max_connections: int) -> AsyncIterator[int]:
    """The port of the app behind the limited protocol."""
    http = limited_protocol(head_seconds=head_seconds, max_connections=max_connections)
    config = uvicorn.Config(
        app_with(FakeEngine(["yes"])), host="127.0.0.1", port=0, log_level="error", http=http
    )
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
    async with listening(head_seconds=0.2, max_connections=10) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        assert await reader.read() == b"", "the connection was closed without a reply"


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
