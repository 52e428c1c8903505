"""The frames of a video, from the cache if they are there, and else by decoding it once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .cache import FrameCache
from .content import FileState, check_unchanged, content_hash, file_state
from .look import Look
from .reader import take_frames
from .stored import StoredFrames
from .take import Take


@dataclass(frozen=True)
class VideoFrames:
    """The frames that were taken of a video. `content` is the hash of its file.

    `times` are seconds from the video's first frame, and frame i is shown until times[i + 1], or until
    `duration`. `decode_passes` is 1 if the video was decoded for this, and 0 if its frames were kept.
    """

    content: str
    take: Take
    decode_passes: int
    stored: StoredFrames

    @property
    def times(self) -> tuple[float, ...]:
        """When each frame is first shown, ascending."""
        return self.stored.times

    @property
    def looks(self) -> tuple[Look, ...]:
        """The look of each frame."""
        return self.stored.looks

    @property
    def duration(self) -> float:
        """The length of the video in seconds."""
        return self.stored.duration

    def jpeg(self, number: int) -> bytes:
        """Return a frame as a square JPEG."""
        return self.stored.jpeg(number)


@dataclass
class FrameSource:
    """Opens videos. Questions that come at the same time share one decode; `decodes` run at a time."""

    cache: FrameCache
    take: Take
    decodes: int = 2
    _hashes: dict[FileState, str] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.decodes)

    @asynccontextmanager
    async def open(
        self, video: Path, *, progress: Callable[[float], None] = lambda seconds: None
    ) -> AsyncIterator[VideoFrames]:
        """Yield the frames of a video file, which can be read until the end of the block.

        `progress` is called with the seconds that were decoded. Raises VideoError.
        """
        state = file_state(video)
        content = self._hashes.get(state)
        if content is None:
            content = await asyncio.to_thread(content_hash, video)
            check_unchanged(video, state)
            self._hashes[state] = content
        name = f"{content}-{self.take.name}"
        async with self._locks.setdefault(name, asyncio.Lock()):
            stored, passes = self.cache.find(name), 0
            if stored is None:
                async with self._turns:
                    stored, passes = await self._decode(video, state, name, progress), 1
        try:
            yield VideoFrames(content, self.take, passes, stored)
        finally:
            stored.close()

    async def _decode(
        self, video: Path, state: FileState, name: str, progress: Callable[[float], None]
    ) -> StoredFrames:
        with self.cache.unfinished() as folder:
            await take_frames(video, self.take, folder, progress=progress)
            check_unchanged(video, state)
            return self.cache.add(name, folder)
