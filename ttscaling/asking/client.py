"""Send requests to a running server, send failed ones again, and check the shape of its replies."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from ttscaling.console import CommandError

from .address import DEFAULT_URL, Address

T = TypeVar("T")
CHAT = "/v1/chat/completions"
BUSY = (408, 429)  # A server answers these 4xx statuses while it is busy; the same request may succeed later.
PAUSES = (1.0, 5.0, 25.0)
TIMEOUT = 600.0  # Seconds without a byte from the server; many candidates on a CPU take minutes.


class Refused(CommandError):
    """The server refused this request with a 4xx status; it may accept other requests."""


class Failed(CommandError):
    """The server failed on this request, is busy or is out of reach; a later attempt may succeed."""


class ServerClient:
    """An open HTTP client for one server, which sends a request that Failed again after each of `pauses`."""

    def __init__(self, client: httpx.AsyncClient, pauses: Sequence[float]) -> None:
        self._client = client
        self._pauses = pauses
        # While this is false, a refused connection means that no server runs there, and waiting won't help.
        self._has_answered = False

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return the JSON object at a path. Raises as `post` does."""
        return await self._send("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the JSON object that the server replies.

        Raises Refused for a 4xx status, Failed if the last attempt failed too, and CommandError if no server
        is there or the reply is no JSON object.
        """
        return await self._send("POST", path, body)

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        for pause in self._pauses:
            try:
                return await self._attempt(method, path, body)
            except Failed:
                await asyncio.sleep(pause)
        return await self._attempt(method, path, body)

    async def _attempt(self, method: str, path: str, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        url = self._client.base_url
        try:
            response = await self._client.request(method, path, json=body)
            self._has_answered = True
            response.raise_for_status()
            reply = response.json()
            if not isinstance(reply, dict):
                raise ValueError("the JSON is no object")
        except httpx.ConnectError:
            kind = Failed if self._has_answered else CommandError
            raise kind(f"no server answers at {url}; start one with: internvl3 serve") from None
        except httpx.HTTPStatusError as error:
            status, message = error.response.status_code, error.response.text[:300]
            kind = Refused if status < 500 and status not in BUSY else Failed
            raise kind(f"the server refused (HTTP {status}): {message}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(f"the request to {url} failed: {type(error).__name__}: {error}") from None
        except ValueError as error:
            raise _another_server(f"{url}{path} sent no JSON object") from error
        return reply


async def reply_of(
    server: ServerClient,
    path: str,
    body: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], T],
    *,
    expected: str,
) -> T:
    """Return what `read` finds in the server's reply to one request.

    Raises what `ServerClient.post` and `read_reply` raise.
    """
    return read_reply(await server.post(path, body), read, expected=expected)


def read_reply(reply: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], *, expected: str) -> T:
    """Return what `read` finds in a server's reply.

    `expected` names it in the message of the CommandError that is raised where `read` raises ValueError,
    KeyError, TypeError, IndexError or AttributeError.
    """
    try:
        return read(reply)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        problem = f"the reply holds no {expected} ({type(error).__name__}: {error})"
        raise _another_server(problem) from error


def _another_server(problem: str) -> CommandError:
    return CommandError(f"{problem}; use the address of an internvl3 server")


@asynccontextmanager
async def connected(
    address: Address | str, *, pauses: Sequence[float] = PAUSES
) -> AsyncIterator[ServerClient]:
    """Yield a client for the server at an address; it closes at the end of the block.

    A text is an address without headers. `pauses` are the seconds to wait before each new attempt at a
    request that failed. Raises CommandError if the text isn't an address.
    """
    server = Address(address, {}) if isinstance(address, str) else address
    root = server.url.rstrip("/").removesuffix("/v1")
    try:
        client = httpx.AsyncClient(base_url=root, timeout=TIMEOUT, headers=server.headers)
    except httpx.InvalidURL as error:
        raise CommandError(f"{server.url} is no address ({error}); it must look like {DEFAULT_URL}") from None
    async with client:
        yield ServerClient(client, pauses)
