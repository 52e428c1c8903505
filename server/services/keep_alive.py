"""Break the silence of a stream with comments, because proxies give silent connections up after a minute."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

SILENCE_SECONDS = 10.0  # longer than most checks take, so that a refusal still gets its HTTP status
COMMENT = ": still working\n\n"


async def with_comments(events: AsyncGenerator[str, None], *, to_the_end: bool) -> AsyncGenerator[str, None]:
    """Yield the events of a stream, and a comment where none comes for a while.

    Args:
        events: the stream; it is closed with this generator.
        to_the_end: whether to do so also after the first event. It costs a task for every event, so streams
            with an event for every token are waited for only once.
    """
    async with aclosing(events):
        while True:
            following = asyncio.ensure_future(anext(events))
            try:
                while not (await asyncio.wait({following}, timeout=SILENCE_SECONDS))[0]:
                    yield COMMENT
            finally:
                following.cancel()  # the client has left, or it is done
                await asyncio.gather(following, return_exceptions=True)
            try:
                event = following.result()
            except StopAsyncIteration:
                return
            yield event
            if not to_the_end:
                break
        async for event in events:
            yield event
