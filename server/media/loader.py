"""Fetch and check the images and videos of a conversation, and put them back inline.

Afterwards the messages hold only text, data: URLs of checked images, and handles of decoded videos. So vLLM
or a remote critic, which read the messages later, never fetch a URL or open a file.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import Any

from model.images.tiling import TilingConfig
from server.request_media import VideoOptions, Videos
from server.settings import Settings
from server.telemetry.metrics import Metrics

from .budget import MediaBudget
from .fetch import FetchLimits, FetchMeans
from .images import check_image
from .in_flight import HeldBytes
from .message_parts import MediaPart, Message, find_media_parts, image_part, video_part, with_parts
from .source import read_source
from .videos import VideoReader

COPIES = 3  # of an image's bytes while its request runs: as fetched, in base64, and decoded for the engine


class MediaLoader:
    """Loads all media of a conversation. It owns the threads that decode images."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._means = FetchMeans.create()
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="internvl3-decode")
        self._reader = VideoReader(settings, metrics, self._means)

    async def load(
        self,
        messages: Sequence[Message],
        video_options: VideoOptions,
        tiling: TilingConfig,
        budget: MediaBudget,
    ) -> tuple[tuple[Message, ...], Videos]:
        """Return the messages with their media inline, and the decoded videos by handle.

        In these messages every image is a data: URL of its checked bytes, and every video is a handle.

        Args:
            messages: the messages of a chat request.
            video_options: the frames and tiles to take from each video.
            tiling: the policy's rules for cutting an image into tiles.
            budget: what the request may still use.

        Raises:
            ApiError: 400, if a part is not supported, can't be fetched or decoded, or exceeds a limit.
        """
        media_parts = [
            media_part
            for index, message in enumerate(messages)
            for media_part in find_media_parts(index, message)
        ]
        for kind in ("image_url", "video_url"):
            count = sum(media_part.kind == kind for media_part in media_parts)
            budget.take(kind.replace("_url", "s"), count)
        parts: dict[tuple[int, int], Mapping[str, Any]] = {}
        videos: dict[str, Any] = {}
        for media_part in media_parts:
            if media_part.kind == "video_url":
                handle, video = await self._reader.read(
                    media_part.url, video_options, tiling, param=media_part.param
                )
                budget.held.take(video.tiles.nbytes)
                videos[handle] = video
                part = video_part(handle)
            else:
                data = await self._fetch_image(media_part, budget.held)
                part = image_part(data, await self._check_image(data, budget, media_part.param))
            parts[media_part.message, media_part.part] = part
        return tuple(with_parts(index, message, parts) for index, message in enumerate(messages)), videos

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._means.close()

    async def _check_image(self, data: bytes, budget: MediaBudget, param: str) -> str:
        """Return the media type of an image; its pixels are taken from the budget."""
        async with budget.turn:
            check = partial(
                check_image, data, pixels_left=budget.pixels_left, max_pixels=budget.max_pixels, param=param
            )
            media_type, pixels = await asyncio.get_running_loop().run_in_executor(self._threads, check)
            budget.pixels_left -= pixels
            return media_type

    async def _fetch_image(self, media_part: MediaPart, held: HeldBytes) -> bytes:
        settings = self._settings
        limits = FetchLimits(
            kind="image",
            max_bytes=settings.max_image_bytes,
            seconds=settings.fetch_seconds,
            param=media_part.param,
        )
        data = BytesIO()

        def write(piece: bytes) -> None:
            held.take(COPIES * len(piece))
            data.write(piece)

        await read_source(media_part.url, write, limits, settings, self._means)
        return data.getvalue()
