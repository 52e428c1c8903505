"""Hand out videos to the workers of a run, also those that come into a folder while the run goes on."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from .video_group import VideoGroup

SCAN_SECONDS = 2.0


class Feed:
    """The videos that are still to be worked on.

    With `scan` it never ends by itself: whenever there is nothing left, `scan` is called for new videos.
    """

    def __init__(
        self,
        groups: Iterable[VideoGroup],
        scan: Callable[[], Iterable[VideoGroup]] | None = None,
        *,
        seconds: float = SCAN_SECONDS,
    ) -> None:
        self._groups, self._scan, self._seconds = deque(groups), scan, seconds
        self._busy = 0

    async def next(self) -> VideoGroup | None:
        """Return the next video. Without `scan`, and if all workers are idle with it, None tells the end."""
        while not self._groups:
            if self._scan is None:
                return None
            self._groups.extend(await asyncio.to_thread(lambda scan: list(scan()), self._scan))
            if not self._groups:
                if not self._busy:
                    return None
                await asyncio.sleep(self._seconds)
        return self._groups.popleft()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let the feed know that a worker works within the block."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
