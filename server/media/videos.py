"""Fetch the videos of a request and have them decoded to tiles in other processes.

The messages name a decoded video by a handle. Only the engine can look the handle up, and only while it
answers the request that brought the video.
"""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from model.images.tiling import TilingConfig
from model.video.extracted import ExtractedFrames
from model.video.file import VideoError
from model.video.order import VideoOrder
from model.video.tiles import Video
from model.video.workers import DecodeWorkers
from server.request_media import HANDLE, VideoOptions, holds_frames
from server.settings import Settings
from server.telemetry.logs import error_line
from server.telemetry.metrics import Metrics
from server.telemetry.tracing import span

from .budget import Budget
from .failures import MediaError
from .fetch import FetchLimits, FetchMeans
from .message_parts import MediaPart
from .source import read_frames, read_source
from .video_cache import VideoCache


class VideoReader:
    """Reads videos from URLs and files. It decodes at most `decode_processes` videos at the same time."""

    def __init__(self, settings: Settings, metrics: Metrics, means: FetchMeans) -> None:
        self._settings = settings
        self._metrics = metrics
        self._means = means
        self._workers = DecodeWorkers(settings.decode_processes, memory_mib=settings.video_memory_mib)
        self._cache = VideoCache(settings.video_cache_mib, metrics)

    async def read(
        self,
        media_part: MediaPart,
        options: VideoOptions,
        tiling: TilingConfig,
        budget: Budget,
        *,
        salt: str | None = None,
    ) -> tuple[str, Video]:
        """Return a video's handle and its tiles.

        The handle is a hash of the file, or of the id of one that was uploaded, and of all settings that
        decide the tiles. So equal files and settings give equal handles.

        Args:
            media_part: the part of a message that holds the video's URL or names its file.
            options: the frames and tiles to take.
            tiling: the policy's rules for cutting an image into tiles.
            budget: what the request may still use; the video takes frames, tiles and bytes.
            salt: only requests with the same salt share the tiles of a video.

        Raises:
            ApiError: 400 with the field of the part, if the video can't be fetched or decoded, or exceeds a
                limit. 503, if the server can't store it.
        """
        param, kept = media_part.param, media_part.file
        with _stored(param), ExitStack() as stack:
            if kept is not None:  # an id stands for one content for ever, so that needn't be hashed
                content, path, extracted = kept.id, kept.path, None
            else:
                file = stack.enter_context(NamedTemporaryFile(prefix="internvl3-video-"))
                with span("fetch", kind="video"):
                    extracted = await self._receive(media_part.url, file, options, param)
                path = Path(file.name)
                file.seek(0)  # it also writes what is still in the buffer
                content = (await asyncio.to_thread(hashlib.file_digest, file, "sha256")).hexdigest()
            order = self._order(path, options, tiling, extracted)
            handle = _handle(content, order)
            budget.add_media_seconds(self._frame_seconds(order))
            uploaded = 0 if kept is None else kept.size
            try:
                video = await self._cache.get((salt, handle), partial(self._decode, order, uploaded), stack)
            except VideoError as error:
                raise MediaError(str(error), kind="video", reason="invalid", param=param) from None
        frames, tiles_per_frame = video.tiles.shape[:2]
        budget.take("frames", frames, param=param)
        budget.take("tiles", frames * tiles_per_frame, param=param)
        budget.held.take(video.tiles.nbytes)
        self._metrics.media.videos.inc()
        self._metrics.media.frames.inc(frames)
        self._metrics.media.tiles.labels("video").inc(frames * tiles_per_frame)
        return handle, video

    def close(self) -> None:
        """End the decoding processes and forget all videos."""
        self._cache.close()
        self._workers.close()

    async def _receive(
        self, url: str, file: IO[bytes], options: VideoOptions, param: str
    ) -> ExtractedFrames | None:
        """Write what is behind a URL into a file. If it is single frames, return where they lie in it."""
        settings = self._settings
        limits = FetchLimits(
            kind="video",
            max_bytes=settings.max_video_bytes,
            seconds=settings.fetch_video_seconds,
            param=param,
        )

        def write(piece: bytes) -> None:
            self._metrics.media.bytes.labels("video").inc(len(piece))
            with _stored(param):  # a fetch would take its OSError for one of the network
                file.write(piece)

        if not holds_frames(url):
            await read_source(url, write, limits, settings, self._means)
            return None
        sizes = await read_frames(url, write, limits, most=settings.max_frames)
        return ExtractedFrames(sizes=sizes, timing=options.timing, max_pixels=settings.max_pixels)

    def _order(
        self, path: Path, options: VideoOptions, tiling: TilingConfig, extracted: ExtractedFrames | None
    ) -> VideoOrder:
        settings = self._settings
        max_tiles = min(options.max_tiles, settings.max_tiles or tiling.max_tiles)
        return VideoOrder(
            path=path,
            request=options.frames if extracted is None else options.extracted,
            tiling=TilingConfig(tiling.tile_size, 1, max_tiles, tiling.use_thumbnail),
            limit=settings.max_frames,
            backend=settings.video_backend,
            extracted=extracted,
        )

    async def _decode(self, order: VideoOrder, uploaded: int) -> Video:
        """Return a video's tiles. `uploaded` is the size of its file if that is read only now, else 0."""
        self._metrics.media.bytes.labels("video").inc(uploaded)
        self._metrics.media.decodes.labels("video").inc()
        seconds = self._settings.video_seconds + self._frame_seconds(order)
        with span("decode", kind="video"):
            return await self._workers.read(order, seconds=seconds)

    def _frame_seconds(self, order: VideoOrder) -> float:
        """Return how much time the frames that may be taken add to the limits."""
        return self._settings.video_frame_seconds * order.num_frames


def _handle(content: str, order: VideoOrder) -> str:
    """Return the handle of a video: a hash of its content and of all that decides its tiles."""
    taken = json.dumps([content, asdict(replace(order, path=Path()))], default=str)
    return HANDLE + hashlib.sha256(taken.encode()).hexdigest()


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
