"""A TCP proxy in front of a server, which counts bytes and can be gone for a while."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Thread

PIECE = 2**16


class TcpProxy:
    """Passes connections on to a port of this machine, from a port of its own that stays the same.

    `sent` counts the bytes from clients to the server, whose port is `target`.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            back, onward = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._copy(reader, onward, count=True))
                    group.create_task(self._copy(back, writer, count=False))
            finally:
                onward.transport.abort()
                writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                self.sent += len(data) if count else 0
                writer.write(data)
                await writer.drain()
            writer.write_eof()


@asynccontextmanager
async def proxied(target: int) -> AsyncIterator[TcpProxy]:
    """Yield an open proxy in front of a port."""
    proxy = TcpProxy(target)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


class ThreadedProxy:
    """A TcpProxy in a thread of its own, which lives longer than the event loop of one test."""

    def __init__(self, proxy: TcpProxy, loop: asyncio.AbstractEventLoop) -> None:
        self.proxy = proxy
        self._loop = loop

    def open(self) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.open(), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.close(), self._loop).result()


@contextmanager
def proxy_in_a_thread(target: int) -> Iterator[ThreadedProxy]:
    """Yield an open proxy in front of a port."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    threaded = ThreadedProxy(TcpProxy(target), loop)
    threaded.open()
    try:
        yield threaded
    finally:
        threaded.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
