"""Count the images, videos and pixels of a request, over all its inputs, against the server's limits."""

import asyncio

from server.errors import ApiError
from server.settings import Settings

from .in_flight import HeldBytes


class MediaBudget:
    """Counts the images, videos and pixels of one request; `held` counts its bytes."""

    def __init__(self, settings: Settings, held: HeldBytes) -> None:
        self.held = held
        self.max_pixels = settings.max_pixels
        self.pixels_left = settings.max_pixels
        # Held while an image is checked, because the image may use the pixels that the ones before it have
        # left.
        self.turn = asyncio.Lock()
        self._most = {"images": settings.max_images, "videos": settings.max_videos}
        self._count = {"images": 0, "videos": 0}

    def take(self, kind: str, count: int) -> None:
        """Count `count` more "images" or "videos"; raises ApiError (400) if the request then has too many."""
        total = self._count[kind] + count
        if total > self._most[kind]:
            raise ApiError(
                f"A request may hold {self._most[kind]} {kind}, not {total}. Send fewer {kind}.",
                param="messages",
            )
        self._count[kind] = total
