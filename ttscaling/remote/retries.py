"""Send an HTTP request again while its server is busy or can't be reached."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import httpx

PAUSES = (0.5, 2.0, 8.0)  # seconds before a request is sent again
LONGEST_PAUSE = 60.0  # seconds that a server may ask for
BUSY = frozenset({408, 429, 502, 503, 504})  # the same request may succeed later
NOT_ANSWERED = (
    httpx.ConnectError,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
    httpx.PoolTimeout,
)


def is_busy(response: httpx.Response) -> bool:
    """Return whether a server may answer the same request later, as far as its status says."""
    return response.status_code in BUSY


async def send_again(
    send: Callable[[], Awaitable[httpx.Response]],
    pauses: Sequence[float],
    *,
    may_succeed_later: Callable[[httpx.Response], bool] = is_busy,
) -> httpx.Response:
    """Return the response of `send`, which is called again after each of `pauses` if it may succeed later.

    A server can ask for another pause with `Retry-After`. The last response is returned whatever it says.
    Raises httpx.HTTPError.
    """
    for pause in pauses:
        try:
            response = await send()
        except NOT_ANSWERED:
            await asyncio.sleep(pause)
            continue
        if not may_succeed_later(response):
            return response
        await asyncio.sleep(_retry_after(response, pause))
    return await send()


def _retry_after(response: httpx.Response, pause: float) -> float:
    """Return the seconds that the server asks for, at most LONGEST_PAUSE, or else `pause`."""
    with suppress(ValueError):
        seconds = float(response.headers.get("retry-after", ""))
        if seconds >= 0:
            return min(seconds, LONGEST_PAUSE)
    return pause
