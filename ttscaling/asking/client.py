"""Asking a running server many things at once, with a bar on standard error."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import typer

from ttscaling.console import CommandError

CHAT = "/v1/chat/completions"
BUSY = (408, 429)  # of 4xx, those that another time may not bring
PAUSES = (1.0, 5.0, 25.0)
TIMEOUT = 600.0  # seconds between two signs of life; many candidates on a CPU take a while

BaseUrl = Annotated[str, typer.Option(help="The server's address.")]
DEFAULT_URL = "http://127.0.0.1:8000"


class Refused(CommandError):
    """The server refused this request with a status of 4xx; another may do."""


class Failed(CommandError):
    """The server failed on this request, is busy or out of reach: it may be another time."""


class ServerClient:
    """A server's address with an open client. A request that Failed is sent again after each of `pauses`."""

    def __init__(self, client: httpx.AsyncClient, pauses: Sequence[float]) -> None:
        self._client = client
        self._pauses = pauses
        self._seen = False  # has it ever answered? If not, waiting for it is in vain

    async def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The reply's JSON object. Raises EvaluationError, Refused for what the server calls our fault."""
        for pause in self._pauses:
            try:
                return await self._post(path, body)
            except Failed:
                await asyncio.sleep(pause)
        return await self._post(path, body)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        url = self._client.base_url
        try:
            response = await self._client.post(path, json=body)
            self._seen = True
            response.raise_for_status()
            reply = response.json()
            if not isinstance(reply, dict):
                raise ValueError("no object")
        except httpx.ConnectError:
            kind = Failed if self._seen else CommandError
            raise kind(f"no server answers at {url}; start one with: internvl3 serve") from None
        except httpx.HTTPStatusError as error:
            status, said = error.response.status_code, error.response.text[:300]
            kind = Refused if status < 500 and status not in BUSY else Failed
            raise kind(f"the server refused (HTTP {status}): {said}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(f"asking {url} failed: {type(error).__name__}: {error}") from None
        except ValueError as error:
            raise CommandError(f"{url}{path} sent no JSON object; is it an internvl3 server?") from error
        return reply


@asynccontextmanager
async def connected(
    base_url: str, *, key: str | None = None, pauses: Sequence[float] = PAUSES
) -> AsyncIterator[ServerClient]:
    """The server at an address, with or without /v1. Raises EvaluationError for what is no address.

    `key` goes along as bearer token; `pauses` are the seconds before a request that failed is sent again.
    """
    root = base_url.rstrip("/").removesuffix("/v1")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        client = httpx.AsyncClient(base_url=root, timeout=TIMEOUT, headers=headers)
    except httpx.InvalidURL as error:
        raise CommandError(f"{base_url} is no address ({error}); it must look like {DEFAULT_URL}") from None
    async with client:
        yield ServerClient(client, pauses)
