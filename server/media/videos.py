"""The videos of a request: fetched into a file, decoded in a process of their own, handed on as tiles.

A decoded video is too large for a data: URL. The messages name it by a handle, which means something only to
the engine and only for the request that brought the video.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from ssl import SSLContext
from tempfile import NamedTemporaryFile

from model.images.tiling import TilingConfig
from model.video.file import VideoError
from model.video.frames import FrameRequest
from model.video.tiles import Video
from model.video.worker import read_video_isolated
from server.errors import ApiError
from server.request_media import HANDLE, VideoOptions
from server.settings import Settings
from server.telemetry.metrics import Metrics

from .fetch import FetchLimits
from .source import read_source


class VideoReader:
    """Turns URLs into tiles, a few videos at a time."""

    def __init__(self, settings: Settings, metrics: Metrics, tls: SSLContext) -> None:
        self._settings = settings
        self._metrics = metrics
        self._tls = tls
        self._slots = asyncio.Semaphore(settings.decode_processes)

    async def read(
        self, url: str, wish: VideoOptions, tiling: TilingConfig, *, param: str
    ) -> tuple[str, Video]:
        """A handle, the same for what would be decoded to the same tiles, and the video.

        Args:
            tiling: the policy's, for images.

        Raises:
            ApiError: 400, naming `param`.
        """
        settings = self._settings
        wanted = FetchLimits(
            kind="video",
            max_bytes=settings.max_video_bytes,
            seconds=settings.fetch_video_seconds,
            param=param,
        )
        most = min(wish.max_tiles, settings.max_tiles or tiling.max_tiles)
        cut = TilingConfig(tiling.tile_size, 1, most, tiling.use_thumbnail)
        with NamedTemporaryFile(prefix="internvl3-video-") as file, self._failures_counted():
            await read_source(url, file.write, wanted, settings, tls=self._tls)
            file.seek(0)
            digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
            async with self._slots:
                video = await self._decode(file.name, wish.frames, cut, param)
        self._metrics.videos.inc()
        self._metrics.video_frames.inc(len(video.tiles))
        what = [digest.hexdigest(), asdict(wish.frames), asdict(cut), settings.max_frames, video.backend]
        return HANDLE + hashlib.sha256(json.dumps(what).encode()).hexdigest(), video

    async def _decode(self, path: str, frames: FrameRequest, cut: TilingConfig, param: str) -> Video:
        settings = self._settings
        try:
            return await read_video_isolated(
                path,
                frames,
                cut,
                limit=settings.max_frames,
                backend=settings.video_backend,
                seconds=settings.video_seconds,
                memory_mib=settings.video_memory_mib,
            )
        except VideoError as error:
            raise ApiError(str(error), param=param, code="invalid_video") from None

    @contextmanager
    def _failures_counted(self) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            self._metrics.video_failures.labels(error.code or "not_fetched").inc()
            raise
