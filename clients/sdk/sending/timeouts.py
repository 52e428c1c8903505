"""The time limits of a request, each for a silence of its own."""

from dataclasses import dataclass

import httpx

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 600.0  # eight candidates on a CPU can take minutes


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds of silence that a client bears; none of them limits a request as a whole.

    `connect` is for the connection, and `write` for each piece of the body that the server doesn't take.
    `first_byte` is from the end of the request to the reply's status; without a stream the server sends it
    when the answer is finished. `between_bytes` is for each further piece of the reply.
    """

    connect: float = CONNECT_SECONDS
    write: float = SILENCE_SECONDS
    first_byte: float = SILENCE_SECONDS
    between_bytes: float = SILENCE_SECONDS


def timeouts_of(seconds: float | Timeouts) -> Timeouts:
    """Return time limits; a number of seconds holds for all of them, but a connection gets 10 at most."""
    if isinstance(seconds, Timeouts):
        return seconds
    return Timeouts(
        connect=min(seconds, CONNECT_SECONDS), write=seconds, first_byte=seconds, between_bytes=seconds
    )


def before_reply(timeouts: Timeouts) -> httpx.Timeout:
    """Return httpx's limits until the status of the reply is there; a wait for a connection has none."""
    return httpx.Timeout(connect=timeouts.connect, write=timeouts.write, read=timeouts.first_byte, pool=None)


def expect_body(response: httpx.Response, timeouts: Timeouts) -> None:
    """Have the limit between bytes hold for the body of a reply whose status has come.

    httpx reads the limit from the request's extension `timeout` when it begins to read a body.
    """
    response.request.extensions["timeout"]["read"] = timeouts.between_bytes
