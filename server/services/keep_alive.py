"""Break the silence of a stream with comments, because proxies give silent connections up after a minute."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

SILENCE_SECONDS = 10.0  # longer than most checks take, so that a refusal still gets its HTTP status
COMMENT = ": still working\n\n"


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
    try:
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    event = await pieces.get()
            except TimeoutError:
                yield COMMENT
                continue
            if event is None:
                break
            # anyio cancels only a task whose next step isn't due yet. With a fast stream it always would be.
            await asyncio.sleep(0)
            yield event
        await reading  # it raises the stream's error
    finally:
        reading.cancel()  # the client has left, or it is done
        await asyncio.gather(reading, return_exceptions=True)


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
