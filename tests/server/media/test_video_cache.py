"""Tiles are kept within a limit, and requests that ask for the same video at once share its decode."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import numpy as np
import pytest

from model.video.file import VideoError
from model.video.tiles import Video
from server.media.in_flight import MIB
from server.media.video_cache import VideoCache
from server.telemetry.metrics import Metrics


def video(mib: float = 0.25) -> Video:
    tiles = np.zeros((1, 1, 1, int(mib * MIB), 1), np.uint8)
    return Video(tiles, np.zeros(1), 1, 1, 1.0, 1, "pyav", 0)


class Decodes:
    """A decode for each key, which waits until it is let go on."""

    def __init__(self, limit_mib: int = 1) -> None:
        self.metrics = Metrics()
        self.cache = VideoCache(limit_mib, self.metrics)
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.begun: list[str] = []
        self.cancelled: list[str] = []

    async def get(self, name: str, mib: float = 0.25, salt: str | None = None) -> Video:
        async def decode() -> Video:
            self.begun.append(name)
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
            if name == "bad":
                raise VideoError("no video")
            return video(mib)

        with ExitStack() as stack:
            return await self.cache.get((salt, name), decode, stack)

    def counts(self) -> dict[str, float]:
        (metric,) = self.metrics.media.cache.collect()
        return {
            sample.labels["outcome"]: sample.value
            for sample in metric.samples
            if sample.name.endswith("_total")
        }


async def test_a_video_is_decoded_once():
    decodes = Decodes()
    first = await decodes.get("a")
    assert [await decodes.get("a") for _ in range(9)] == [first] * 9
    assert decodes.begun == ["a"] and decodes.counts() == {"miss": 1, "hit": 9}


async def test_with_no_memory_nothing_is_kept():
    decodes = Decodes(limit_mib=0)
    assert await decodes.get("a") is not await decodes.get("a")
    assert decodes.begun == ["a", "a"]


async def test_the_least_recently_used_are_dropped():
    decodes = Decodes()
    for name in ("a", "b", "c", "d", "a", "e"):  # four of them fit
        await decodes.get(name)
    assert decodes.metrics.media.cache_bytes._value.get() == MIB
    assert decodes.begun == ["a", "b", "c", "d", "e"]
    await decodes.get("a")
    await decodes.get("b")
    assert decodes.begun == ["a", "b", "c", "d", "e", "b"]


async def test_a_video_that_fits_nowhere_drops_no_other():
    decodes = Decodes()
    await decodes.get("a")
    await decodes.get("large", mib=1.5)
    await decodes.get("a")
    assert decodes.begun == ["a", "large"]


async def test_other_salts_are_other_videos():
    decodes = Decodes()
    for salt in (None, "one", "two", "one"):
        await decodes.get("a", salt=salt)
    assert decodes.counts() == {"miss": 3, "hit": 1}


async def running(decodes: Decodes, names: str) -> list[asyncio.Task[Video]]:
    """Ask for videos at the same time, and return when the decodes have begun."""
    decodes.may_end.clear()
    tasks = [asyncio.create_task(decodes.get(name)) for name in names.split()]
    while not decodes.begun:
        await asyncio.sleep(0)
    return tasks


async def test_requests_at_the_same_time_share_a_decode():
    decodes = Decodes(limit_mib=0)
    tasks = await running(decodes, "a a a")
    tasks[0].cancel()  # the first one leaves, and the others still get the video
    await asyncio.wait([tasks[0]])
    decodes.may_end.set()
    assert await tasks[1] is await tasks[2]
    assert decodes.begun == ["a"] and decodes.counts() == {"miss": 1, "shared": 2}


async def test_a_decode_ends_when_all_have_left():
    decodes = Decodes()
    tasks = await running(decodes, "a a")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert decodes.cancelled == ["a"]
    decodes.may_end.set()
    await decodes.get("a")
    assert decodes.begun == ["a", "a"]


async def test_an_error_is_raised_for_all_and_kept_for_nobody():
    decodes = Decodes()
    tasks = await running(decodes, "bad bad")
    decodes.may_end.set()
    for task in tasks:
        with pytest.raises(VideoError, match="no video"):
            await task
    with pytest.raises(VideoError, match="no video"):
        await decodes.get("bad")
    assert decodes.begun == ["bad", "bad"]


@pytest.mark.parametrize("leave_at_once", [True, False])
async def test_the_file_stays_until_its_decode_has_ended(leave_at_once: bool):
    cache, may_end = VideoCache(1, Metrics()), asyncio.Event()
    closed: list[str] = []

    async def decode() -> Video:
        await may_end.wait()
        assert not closed
        return video()

    async def get(name: str, work: Callable[[], Awaitable[Video]]) -> Video:
        with ExitStack() as stack:
            stack.callback(closed.append, name)
            return await cache.get((None, "a"), work, stack)

    first, second = (asyncio.create_task(get(name, decode)) for name in ("first", "second"))
    await asyncio.sleep(0)
    first.cancel()
    if leave_at_once:
        second.cancel()
        await asyncio.wait([first, second])
    else:
        await asyncio.wait([first])
        assert closed == []
        may_end.set()
        await second
    assert sorted(closed) == ["first", "second"]
