"""Abort an engine request whose caller is cancelled, and still read what the engine has counted for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
ABORT_AGAIN_SECONDS = 0.5
ABORT_SECONDS = 10.0  # the time for an engine to confirm an abort; it confirms at once unless it hangs


async def read_or_abort(read: Coroutine[Any, Any, T], client: Any, request_id: str) -> T:
    """Return the result of `read`, which reads the outputs of one request to a vLLM engine.

    If this call is cancelled, the request is aborted. vLLM answers that with a last output, and `read` goes
    on until it has it.

    Args:
        read: makes the request and reads its outputs to the end.
        client: vLLM's engine client.
        request_id: the id of the request, which no other request has.
    """
    reading = asyncio.create_task(read)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.sleep(0)  # a task created in this turn of the loop must reach the engine first
        end = asyncio.get_running_loop().time() + ABORT_SECONDS
        while not reading.done() and asyncio.get_running_loop().time() < end:
            await client.abort(request_id)  # again and again, because it may reach the engine only now
            await asyncio.wait([reading], timeout=ABORT_AGAIN_SECONDS)
        raise
    finally:
        reading.cancel()
        if reading.done() and not reading.cancelled():
            reading.exception()  # asyncio would log one that nobody has read
