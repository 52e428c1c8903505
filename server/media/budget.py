"""Counts what one request uses of its limits, over all of its inputs together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.access.admission import Ticket
from server.errors import TOO_MANY_STEPS, ApiError
from server.settings import Settings

from .in_flight import HeldBytes

FETCHES = 8  # images of a request that are fetched at the same time
CODES = {  # of the error for too much of a kind
    "images": "too_many_images",
    "videos": "too_many_videos",
    "pixels": "image_too_large",
    "frames": "too_many_frames",
    "tiles": "too_many_tiles",
    "steps": TOO_MANY_STEPS,
    "characters": "answers_too_long",
}


class Budget:
    """The limits of one request, and what it has used of them.

    The route makes one budget for each request and passes it to everything that works for the request. So
    the limits hold for a request as a whole, also if it holds many inputs. `held` counts the bytes of its
    body and its media, and `ticket` is its place in the queue.
    """

    def __init__(self, settings: Settings, held: HeldBytes, ticket: Ticket) -> None:
        self.held = held
        self.ticket = ticket
        self.fetches = asyncio.Semaphore(FETCHES)
        # Held while an image is checked, because it may use the pixels that the ones before it have left.
        self.turn = asyncio.Lock()
        self._media_began: float | None = None  # by the event loop's clock
        self._media_seconds = settings.media_seconds
        self._media_timeouts: set[asyncio.Timeout] = set()  # of the blocks that run now
        self._limits = {
            "images": settings.max_images,
            "videos": settings.max_videos,
            "pixels": settings.max_pixels,
            "frames": settings.max_request_frames,
            "tiles": settings.max_request_tiles,
            "steps": settings.max_request_steps,
            "characters": settings.max_request_characters,
        }
        self._used = dict.fromkeys(self._limits, 0)

    def limit(self, kind: str) -> int:
        """Return how much of a kind the whole request may use; `left` names the kinds."""
        return self._limits[kind]

    def left(self, kind: str) -> int:
        """Return how much is left of images, videos, pixels, frames, tiles, steps or characters.

        "characters" are those of the answers that the critic scores.
        """
        return self._limits[kind] - self._used[kind]

    def take(self, kind: str, count: int, *, param: str = "messages") -> None:
        """Use `count` more of a kind that `left` knows.

        Raises ApiError (400 with `param` and the code of the kind) if the request then has too many, and
        takes none.
        """
        total = self._used[kind] + count
        if total > self._limits[kind]:
            raise ApiError(
                f"A request may hold {self._limits[kind]} {kind}, not {total}. Send fewer {kind}.",
                param=param,
                code=CODES[kind],
            )
        self._used[kind] = total

    def add_media_seconds(self, seconds: float) -> None:
        """Give the request so much more time for its media, because it asks for much of them.

        This is called in a block of `media_time`.
        """
        self._media_seconds += seconds
        for limit in self._media_timeouts:
            if not limit.expired():
                limit.reschedule(self._media_end())

    @asynccontextmanager
    async def media_time(self) -> AsyncIterator[None]:
        """End the work in the block when the request's seconds for media are over.

        They begin with the first such block. Raises ApiError (504, `media_timeout`) then.
        """
        try:
            async with asyncio.timeout_at(self._media_end()) as limit:
                self._media_timeouts.add(limit)
                try:
                    yield
                finally:
                    self._media_timeouts.remove(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            raise ApiError(
                f"The images and videos were not fetched and decoded within {self._media_seconds:g} "
                "seconds. Send fewer or smaller ones, or send them inline as data: URLs. Of videos ask for "
                'keyframes (media_io_kwargs.video.mode "keyframe"), or for fewer frames.',
                status=504,
                param="messages",
                code="media_timeout",
            ) from None

    def _media_end(self) -> float:
        """Return when the request's time for media is over, by the event loop's clock."""
        if self._media_began is None:
            self._media_began = asyncio.get_running_loop().time()
        return self._media_began + self._media_seconds
