"""Break the silence of a stream with comments, because proxies give silent connections up after a minute."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count

SILENCE_SECONDS = 10.0  # longer than most checks take, so that a refusal still gets its HTTP status
COMMENT = ": still working\n\n"
EVENTS_WITHOUT_A_BREAK = 16


async def begun(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Wait for the first event or comment of a stream, and return the stream with comments.

    So a failure before it is raised as ApiError and can still have an HTTP status. A later one is met by the
    stream's reader.
    """
    commented = with_comments(events)
    return _resumed(await anext(commented), commented)


async def with_comments(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield the events of a stream, and a comment whenever none has come for `SILENCE_SECONDS`.

    A task of its own reads `events` and closes them at the end, because a reader that was interrupted for a
    comment could not go on. It reads one event ahead at most.
    """
    pieces: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)  # None follows the last one
    reading = asyncio.create_task(_read(events, pieces))
    silence = Silence(pieces)
    try:
        for number in count():
            event = await pieces.get()
            if event is None:
                break
            silence.end()
            if number % EVENTS_WITHOUT_A_BREAK == 0:
                # anyio cancels only a task whose next step isn't due. With a fast stream it always would be.
                await asyncio.sleep(0)
            yield event
        await reading  # it raises the stream's error
    finally:
        silence.stop_watching()
        reading.cancel()  # the client has left, or it is done
        await asyncio.gather(reading, return_exceptions=True)


class Silence:
    """Puts a comment into an empty queue whenever there was nothing in it for `SILENCE_SECONDS`.

    One timer looks after the time of the last event. A timer for each event would cost more than the event.
    """

    def __init__(self, pieces: asyncio.Queue[str | None]) -> None:
        self._pieces = pieces
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._timer = self._loop.call_later(SILENCE_SECONDS, self._break)

    def end(self) -> None:
        """Say that an event has come."""
        self._began = self._loop.time()

    def stop_watching(self) -> None:
        """Put no comments any more."""
        self._timer.cancel()

    def _break(self) -> None:
        left = self._began + SILENCE_SECONDS - self._loop.time()
        if left <= 0:
            left = SILENCE_SECONDS
            if self._pieces.empty():
                self._pieces.put_nowait(COMMENT)
        self._timer = self._loop.call_later(left, self._break)


async def _read(events: AsyncGenerator[str, None], pieces: asyncio.Queue[str | None]) -> None:
    try:
        async with aclosing(events):
            async for event in events:
                await pieces.put(event)
    except Exception:
        await pieces.put(None)
        raise
    await pieces.put(None)


async def _resumed(first: str, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event
