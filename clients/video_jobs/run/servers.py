"""The servers of a run: which of them are up, and which of them a video's questions go to."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from clients.sdk.errors import api_error

from .failures import RunEnds, ServerGone

PROBE_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)  # between two probes of a server that is away; the last one repeats
PROBE_TIMEOUT = 10.0
SILENCE = 600.0  # seconds without a byte; many candidates on a CPU take minutes
CONNECT = 10.0


class BadAddress(ValueError):
    """A text is no address of a server."""


class Server:
    """One server by its address, with or without /v1. Raises BadAddress for what is none."""

    def __init__(self, base_url: str, *, headers: Mapping[str, str], silence: float = SILENCE) -> None:
        self.url = base_url.rstrip("/").removesuffix("/v1")
        if not _is_address(self.url):
            raise BadAddress(f"{base_url} is no address of a server; it must look like http://127.0.0.1:8000")
        timeout = httpx.Timeout(silence, connect=CONNECT, pool=None)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, limits=limits)
        self.is_up = True
        self.was_probed = asyncio.Event()

    async def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Send a body once and return the reply. Raises httpx.HTTPError, and ValueError for NaN in it."""
        content = await asyncio.to_thread(lambda: json.dumps(body, allow_nan=False).encode())
        return await self._http.post(path, content=content, headers={"Content-Type": "application/json"})

    async def get(self, path: str) -> httpx.Response:
        """Return the reply at a path. Raises httpx.HTTPError."""
        return await self._http.get(path, timeout=PROBE_TIMEOUT)

    async def is_ready(self) -> bool:
        """Return whether the server answers questions now; without /readyz it is ready if it lists models."""
        try:
            response = await self.get("/readyz")
            if response.status_code == httpx.codes.NOT_FOUND:
                response = await self.get("/v1/models")
            return response.is_success or response.status_code in (401, 403)
        except httpx.HTTPError:
            return False

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()


class Servers:
    """All servers of a run.

    A server is probed until it is ready, also at the beginning. `check` is called before it is used, and
    what it raises ends the run. If all of them are away for `patience` seconds, the run ends. `say` gets a
    line when a server goes or comes. It is a context manager that ends the probes and closes the connections.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        patience: float,
        check: Callable[[Server], Awaitable[None]],
        say: Callable[[str], None],
    ) -> None:
        self._servers, self._patience, self._check, self._say = tuple(servers), patience, check, say
        self._probes: dict[Server, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._end: Exception | None = None
        self._last_seen = time.monotonic()

    async def __aenter__(self) -> "Servers":
        for server in self._servers:
            self.note_away(server)
        # Otherwise the first server that answers would get the videos of all others.
        await asyncio.gather(*(server.was_probed.wait() for server in self._servers))
        return self

    async def __aexit__(self, *error: object) -> None:
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)
        for server in self._servers:
            await server.close()

    async def wait_for(self, video: str) -> Server:
        """Return the first server that is up, in the order of the video. Raises RunEnds."""
        order = sorted(self._servers, key=lambda server: preference(video, server.url), reverse=True)
        while True:
            if self._end is not None:
                raise self._end
            for server in order:
                if server.is_up:
                    return server
            self._changed.clear()
            await self._changed.wait()

    async def render(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what one of the servers says of the prompt of a chat request, which costs nothing.

        Raises RunEnds, and ApiError if it can't say.
        """
        while True:
            server = await self.wait_for("")
            try:
                response = await server.post("/v1/chat/completions/render", body)
            except httpx.HTTPError:
                self.note_away(server)
                continue
            if not response.is_success:
                raise api_error(response.status_code, response.content)
            reply: Mapping[str, Any] = response.json()
            return reply

    def note_away(self, server: Server) -> None:
        """Note that a server didn't answer; it isn't used until it is ready."""
        if not server.is_up:
            return
        if all(one.is_up for one in self._servers):
            self._last_seen = time.monotonic()
        server.is_up = False
        self._probes[server] = asyncio.create_task(self._probe(server))

    async def _probe(self, server: Server) -> None:
        """Wait until a server is ready, and let it be used again."""
        is_told = False
        for number in range(2**31):
            try:
                if await server.is_ready():
                    await self._check(server)
                    break
            except RunEnds as error:
                self._end = error
                self._changed.set()
                server.was_probed.set()
                return
            except httpx.HTTPError:
                pass  # it went away again
            server.was_probed.set()
            if not is_told:
                self._say(f"the server at {server.url} is away; waiting for it")
                is_told = True
            if any(one.is_up for one in self._servers):
                self._last_seen = time.monotonic()
            elif time.monotonic() - self._last_seen >= self._patience:
                self._end = ServerGone(
                    f"no server has answered at {server.url} for {self._patience:g} s; start it again with: "
                    "internvl3 serve"
                )
                self._changed.set()
                return
            await asyncio.sleep(PROBE_SECONDS[min(number, len(PROBE_SECONDS) - 1)])
        if is_told:
            self._say(f"the server at {server.url} is back")
        server.is_up = True
        server.was_probed.set()
        self._last_seen = time.monotonic()
        self._changed.set()


def preference(video: str, url: str) -> bytes:
    """Return how much a video belongs to a server: it goes to the one with the largest value.

    So if a server comes or goes, only the videos that it gets or had go elsewhere (rendezvous hashing).
    """
    return hashlib.sha256(f"{url}\n{video}".encode(errors="surrogateescape")).digest()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
