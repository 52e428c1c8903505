"""Keep the tiles of videos that were decoded last, so that further questions on a video decode nothing."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

from model.video.tiles import Video
from server.telemetry.metrics import Metrics

from .in_flight import MIB

Key = tuple[str | None, str]  # the salt of who asks, and the handle of the video


class VideoCache:
    """The tiles of videos, the least recently used ones dropped first.

    Requests that ask for the same video at the same time share one decode. Keys with different salts never
    meet, so nobody can find out by the time of a reply what others have sent.
    """

    def __init__(self, limit_mib: int, metrics: Metrics) -> None:
        """`limit_mib` is the memory of all tiles that are kept; with 0 none are kept."""
        self._limit = limit_mib * MIB
        self._metrics = metrics
        self._kept: OrderedDict[Key, Video] = OrderedDict()
        self._bytes = 0
        self._decodes: dict[Key, asyncio.Task[Video]] = {}
        self._waiting: Counter[Key] = Counter()  # the requests that wait for each decode

    async def get(self, key: Key, decode: Callable[[], Awaitable[Video]], file: ExitStack) -> Video:
        """Return the video of `key`: a kept one, or what `decode` returns.

        A decode goes on until no request waits for it any more. It takes over what `file` holds, and closes
        it at its end. The exceptions of `decode` pass through, for all requests that wait for it.
        """
        if key in self._kept:
            self._count("hit")
            self._kept.move_to_end(key)
            return self._kept[key]
        task = self._decodes.get(key)
        self._count("miss" if task is None else "shared")
        if task is None:
            task = self._decodes[key] = asyncio.create_task(self._decode(key, decode))
            taken = file.pop_all()
            task.add_done_callback(lambda _: taken.close())
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                self._forget(key, task)
                task.cancel()
                await asyncio.wait([task])  # its process and its file are gone when the request has ended

    def close(self) -> None:
        """Drop all videos and end all decodes."""
        self._kept.clear()
        for task in self._decodes.values():
            task.cancel()

    async def _decode(self, key: Key, decode: Callable[[], Awaitable[Video]]) -> Video:
        try:
            video = await decode()
        finally:
            self._forget(key, asyncio.current_task())  # at once, so that no request joins an ended decode
        self._keep(key, video)
        return video

    def _forget(self, key: Key, task: asyncio.Task[Any] | None) -> None:
        if self._decodes.get(key) is task:
            del self._decodes[key]

    def _keep(self, key: Key, video: Video) -> None:
        if video.tiles.nbytes > self._limit:
            return
        self._kept[key] = video
        self._bytes += video.tiles.nbytes
        while self._bytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.tiles.nbytes
        self._metrics.media.cache_bytes.set(self._bytes)

    def _count(self, outcome: str) -> None:
        self._metrics.media.cache.labels(outcome).inc()
