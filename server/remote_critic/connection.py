"""The connection to the server of a critic: requests that are sent again, and whether it can be reached."""

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from server.errors import ApiError, StartupError
from server.media.transfer import OutgoingMedium
from server.settings import Settings
from ttscaling.remote.retries import send_again
from ttscaling.types import CriticError

from .refusals import Refusal, may_succeed_later, read_refusal
from .uploads import Key

logger = logging.getLogger("internvl3.critic")
CONNECT_SECONDS = 5.0
CONNECTIONS = 64
PAUSES = (0.25, 1.0)  # seconds before a request is sent again
LOOK_SECONDS = 1.0  # between two looks whether the server is back
LOOK_AGAIN_SECONDS = 10.0  # between two looks while it is there
PROBE_SECONDS = 10.0  # that a reply to a look may take


class CriticInfo(BaseModel):
    """What the server says of its critic."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    v2pe_delta: float
    tile_size: int
    setup: dict[str, Any]


class MissingMedia(Exception):
    """The server lacks some media of a question; `names` are their ids."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(names)
        self.names = names


class CriticConnection:
    """Speaks with the server of a critic, and looks from time to time whether it is there.

    `info` is what the server has said last of its critic; None before it was reached. `is_up` is whether it
    has answered last.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        """`client` has the server's address as `base_url`, and sends the API key."""
        self._client = client
        self._host = client.base_url.netloc.decode()
        self._last_look = self._last_reply = -math.inf  # of the event loop's clock
        self._is_new = True  # nobody was told yet whether it is there
        self._watching: asyncio.Task[None] | None = None
        self.info: CriticInfo | None = None
        self.is_up = False

    @classmethod
    async def open(cls, settings: Settings) -> "CriticConnection":
        """Return the connection that the settings name. The server needs not to be there yet.

        Raises StartupError if it is there but has no critic for us.
        """
        key = settings.critic_key
        connection = cls(
            httpx.AsyncClient(
                base_url=settings.critic_url or "",
                headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
                verify=ssl.create_default_context(),
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                limits=httpx.Limits(max_connections=CONNECTIONS),
                follow_redirects=False,
                trust_env=False,
            )
        )
        refusal = await connection.look()
        if refusal is not None and refusal.is_away and refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            await connection.close()
            raise StartupError(
                f"--critic-url: {connection._host} is no server with a critic for us (HTTP {refusal.status}: "
                f"{refusal.message}); correct the URL, or set --critic-key"
            )
        connection.watch()
        return connection

    def watch(self) -> None:
        """Begin to look whether the server is there, until `close`."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._client.aclose()

    async def look(self) -> Refusal | None:
        """Ask the server for its critic, and keep what it says. Return its reply if that is a refusal."""
        begin = self._last_look = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                response = await self._client.get("/v1/critic")
        except (httpx.HTTPError, TimeoutError) as error:
            is_busy = isinstance(error, TimeoutError) and self._last_reply > begin
            if not is_busy:
                self._lost(_reason(error))
            return None
        if response.status_code != HTTPStatus.OK:
            refusal = read_refusal(response)
            self._lost(f"HTTP {refusal.status}: {refusal.message}")
            return refusal
        try:
            self.info = CriticInfo.model_validate_json(response.content)
        except ValidationError:
            self._lost("it describes no critic")
            return None
        self._found()
        return None

    async def score(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the reply to `/v1/critic/score`.

        Raises MissingMedia, CriticError if the server fails or can't be reached, and ApiError if it refuses
        what the request holds.
        """
        response = await self._send(lambda: self._client.post("/v1/critic/score", json=body))
        try:
            reply: Mapping[str, Any] = response.json()
        except ValueError:
            raise CriticError("the critic's server sent a reply that is no JSON") from None
        return reply

    async def put(self, key: Key, medium: OutgoingMedium) -> None:
        """Send a medium to be kept under its key. Raises CriticError and ApiError as `score` does."""
        cache_salt, name = key

        async def pieces() -> AsyncGenerator[bytes]:
            for piece in medium.pieces():
                yield piece

        headers = {"Content-Type": medium.media_type, "Content-Length": str(medium.size)}
        params = {} if cache_salt is None else {"cache_salt": cache_salt}
        await self._send(
            lambda: self._client.put(
                f"/v1/critic/media/{name}", content=pieces(), headers=headers, params=params
            )
        )

    async def _send(self, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        """Return the reply to a request, which is sent again while the server is busy.

        While the server is away, no request is sent: only `look` finds out that it is back.
        """
        if not self.is_up:
            raise CriticError("the critic's server can't be reached")
        try:
            response = await send_again(send, PAUSES, may_succeed_later=may_succeed_later)
        except httpx.HTTPError as error:
            self._lost(_reason(error))
            raise CriticError("the critic's server can't be reached") from error
        if response.is_success:
            self._found()
            return response
        refusal = read_refusal(response)
        if refusal.missing:
            raise MissingMedia(refusal.missing)
        if refusal.is_away:
            self._lost(f"HTTP {refusal.status}: {refusal.message}")
            raise CriticError("the critic's server can't be reached")
        if refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR and refusal.status not in (408, 429):
            raise ApiError(
                refusal.message,
                status=refusal.status,
                param=refusal.param,
                code=refusal.code or "invalid_value",
            )
        raise CriticError(refusal.message.rstrip("."))

    def _found(self) -> None:
        if not self.is_up:
            self._is_new = False
            logger.info(
                "the critic %s on %s is there", "" if self.info is None else self.info.name, self._host
            )
        self.is_up = True
        self._last_reply = asyncio.get_running_loop().time()

    def _lost(self, reason: str) -> None:
        if self.is_up or self._is_new:
            self._is_new = False
            logger.warning(
                "the critic on %s can't be used (%s); until it is back, answers are chosen as "
                "on_critic_error says",
                self._host,
                reason,
            )
        self.is_up = False

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.is_up or asyncio.get_running_loop().time() > self._last_look + LOOK_AGAIN_SECONDS:
                await self.look()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
