"""Fetch the videos of a request and decode each in a separate process into tiles.

The messages name a decoded video by a handle. Only the engine can look the handle up, and only while it
answers the request that brought the video.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from tempfile import NamedTemporaryFile

from model.images.tiling import TilingConfig
from model.video.file import VideoError
from model.video.frames import FrameRequest
from model.video.tiles import Video
from model.video.worker import read_video_isolated
from server.request_media import HANDLE, VideoOptions
from server.settings import Settings
from server.telemetry.logs import error_line
from server.telemetry.metrics import Metrics

from .budget import Budget
from .failures import MediaError
from .fetch import FetchLimits, FetchMeans
from .source import read_source


class VideoReader:
    """Reads videos from URLs. It decodes at most `decode_processes` videos at the same time."""

    def __init__(self, settings: Settings, metrics: Metrics, means: FetchMeans) -> None:
        self._settings = settings
        self._metrics = metrics
        self._means = means
        self._decoders = asyncio.Semaphore(settings.decode_processes)

    async def read(
        self, url: str, options: VideoOptions, tiling: TilingConfig, budget: Budget, *, param: str
    ) -> tuple[str, Video]:
        """Return a video's handle and its tiles.

        The handle is a hash of the file and of all settings that decide the tiles, so equal
        files and settings give equal handles.

        Args:
            url: a data: URL or an http(s) URL.
            options: the frames and tiles to take.
            tiling: the policy's rules for cutting an image into tiles.
            budget: what the request may still use; the video takes frames, tiles and bytes.
            param: the field of the request, for error messages.

        Raises:
            ApiError: 400 with `param`, if the video can't be fetched or decoded, or exceeds a limit. 503, if
                the server can't store it.
        """
        settings = self._settings
        limits = FetchLimits(
            kind="video",
            max_bytes=settings.max_video_bytes,
            seconds=settings.fetch_video_seconds,
            param=param,
        )
        max_tiles = min(options.max_tiles, settings.max_tiles or tiling.max_tiles)
        frame_tiling = TilingConfig(tiling.tile_size, 1, max_tiles, tiling.use_thumbnail)
        with _stored(param), NamedTemporaryFile(prefix="internvl3-video-") as file:

            def write(piece: bytes) -> None:
                with _stored(param):  # a fetch would take its OSError for one of the network
                    file.write(piece)

            await read_source(url, write, limits, settings, self._means)
            file.seek(0)  # it also writes what is still in the buffer
            digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
            async with self._decoders:
                video = await self._decode(file.name, options.frames, frame_tiling, param)
        frames, tiles_per_frame = video.tiles.shape[:2]
        budget.take("frames", frames, param=param)
        budget.take("tiles", frames * tiles_per_frame, param=param)
        budget.held.take(video.tiles.nbytes)
        self._metrics.media_decodes.labels("video").inc()
        self._metrics.videos.inc()
        self._metrics.video_frames.inc(frames)
        tile_inputs = [
            digest.hexdigest(),
            asdict(options.frames),
            asdict(frame_tiling),
            settings.max_frames,
            video.backend,
        ]
        return HANDLE + hashlib.sha256(json.dumps(tile_inputs).encode()).hexdigest(), video

    async def _decode(self, path: str, frames: FrameRequest, frame_tiling: TilingConfig, param: str) -> Video:
        settings = self._settings
        try:
            return await read_video_isolated(
                path,
                frames,
                frame_tiling,
                limit=settings.max_frames,
                backend=settings.video_backend,
                seconds=settings.video_seconds,
                memory_mib=settings.video_memory_mib,
            )
        except VideoError as error:
            raise MediaError(str(error), kind="video", reason="invalid", param=param) from None


@contextmanager
def _stored(param: str) -> Iterator[None]:
    """Turn an OSError of the block, in which a video is stored and decoded, into a MediaError (503).

    The disk may be full when the file is opened, written or closed, and the machine may have no more files,
    processes or memory for the decoder.
    """
    try:
        yield
    except OSError as error:
        raise MediaError(
            "The server has no room for the video. Retry in a few seconds, or send a smaller one.",
            kind="video",
            reason="storage",
            param=param,
            status=503,
            detail=error_line(error),
        ) from None
