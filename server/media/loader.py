"""Fetch and check the images and videos of a conversation, and put them back inline.

Afterwards the messages hold only text, data: URLs of checked images, and handles of decoded videos. So vLLM
or a remote critic, which read the messages later, never fetch a URL or open a file.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from types import MappingProxyType
from typing import Any

from model.images.tiling import TilingConfig
from model.media_in_text import INLINE
from server.errors import ApiError
from server.request_media import HANDLE, VideoOptions, Videos
from server.settings import Settings
from server.telemetry.metrics import Metrics

from .budget import Budget
from .failures import counted_failures
from .fetch import FetchLimits, FetchMeans
from .images import check_image
from .message_parts import MediaPart, Message, find_media_parts, image_part, video_part, with_parts, with_salt
from .source import read_source
from .stored import StoredMedium
from .tiles import count_tiles
from .transfer import TILES, read_tiles
from .videos import VideoReader

COPIES = 2  # of an image's bytes while its request runs: as fetched, and in base64 for the engine
CHANNELS = 3  # bytes of a pixel that vLLM decodes


class MediaLoader:
    """Loads all media of a conversation. It owns the threads that decode images."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._means = FetchMeans.create()
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="internvl3-decode")
        self._reader = VideoReader(settings, metrics, self._means)

    async def load(
        self,
        messages: Sequence[Message],
        video_options: VideoOptions,
        tiling: TilingConfig,
        budget: Budget,
        *,
        vision: Mapping[str, Any],
        salt: str | None = None,
        stored: Mapping[str, StoredMedium] = MappingProxyType({}),
    ) -> tuple[tuple[Message, ...], Videos]:
        """Return the messages with their media inline, and the decoded videos by handle.

        In these messages every image is a data: URL of its checked bytes, and every video is a handle.

        Args:
            messages: the messages of a chat request.
            video_options: the frames and tiles to take from each video.
            tiling: the policy's rules for cutting an image into tiles.
            budget: what the request may still use.
            vision: the request's mm_processor_kwargs, which change the tiling of images.
            salt: keeps the media in the engines' caches apart from those of requests with another salt.
            stored: media that were sent before, by the URLs that name them in the messages.

        Raises:
            ApiError: 400, if a part is not supported, can't be fetched or decoded, or exceeds a limit. 504,
                if the request's seconds for media are over.
        """
        media_parts = [
            media_part
            for index, message in enumerate(messages)
            for media_part in find_media_parts(index, message)
        ]
        for medium in ("image", "video"):
            count = sum(media_part.medium == medium for media_part in media_parts)
            with counted_failures(medium, self._metrics):
                budget.take(f"{medium}s", count)
        if not media_parts:
            return tuple(with_parts(index, message, {}) for index, message in enumerate(messages)), {}
        # Images are fetched side by side, and checked in their order, so that the same request gets the same
        # error each time.
        fetching = {
            media_part: asyncio.create_task(self._fetch_image(media_part, budget))
            for media_part in media_parts
            if media_part.medium == "image" and media_part.url not in stored
        }
        parts: dict[tuple[int, int], Mapping[str, Any]] = {}
        videos: dict[str, Any] = {}
        sizes: list[tuple[int, int]] = []
        try:
            for media_part in media_parts:
                # Only here, so that a request that is refused counts once, however many of its media fail.
                with counted_failures(media_part.medium, self._metrics):
                    async with budget.media_time():
                        if kept := stored.get(media_part.url):
                            part = _stored_part(kept, messages, media_part, budget)
                            if kept.image_size is not None:
                                sizes.append(kept.image_size)
                            if kept.video is not None:
                                videos[part["video_url"]["url"]] = kept.video
                        elif media_part.medium == "video":
                            handle, video = await self._reader.read(
                                media_part.url, video_options, tiling, budget, param=media_part.param
                            )
                            videos[handle] = video
                            part = video_part(handle)
                        else:
                            data = await fetching[media_part]
                            part, size = await self._check_image(data, budget, media_part.param)
                            sizes.append(size)
                parts[media_part.message, media_part.part] = with_salt(part, salt)
        finally:
            for task in fetching.values():
                task.cancel()
            await asyncio.gather(*fetching.values(), return_exceptions=True)
        with counted_failures("image", self._metrics):
            budget.take("tiles", count_tiles(sizes, vision, tiling, self._settings))
        return tuple(with_parts(index, message, parts) for index, message in enumerate(messages)), videos

    async def check_upload(
        self, name: str, media_type: str, data: bytearray, tiling: TilingConfig, budget: Budget, *, param: str
    ) -> StoredMedium:
        """Return a medium that another server has sent, checked as those of a request are.

        Args:
            name: the id by which questions name it.
            media_type: `transfer.TILES`, or the type of an image.
            data: the body of the request.
            tiling: the critic's rules for cutting an image into tiles.
            budget: what the request may use.
            param: the field of the request, for error messages.

        Raises:
            ApiError: 400, if the medium can't be decoded or exceeds a limit.
        """
        if media_type != TILES:
            if len(data) > self._settings.max_image_bytes:
                raise self._image_limits(param).too_large()
            part, size = await self._check_image(bytes(data), budget, param)
            return StoredMedium(part=part, size=len(part["image_url"]["url"]), image_size=size)
        video = read_tiles(data, param=param)
        if video.tiles.shape[2] != tiling.tile_size:
            raise ApiError(
                f"The tiles have {video.tiles.shape[2]} pixels a side, but the critic's have "
                f"{tiling.tile_size}. Use a critic whose tiles have the policy's size.",
                param=param,
            )
        return StoredMedium(part=video_part(HANDLE + name), size=len(data), video=video)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._means.close()

    async def _check_image(
        self, data: bytes, budget: Budget, param: str
    ) -> tuple[Mapping[str, Any], tuple[int, int]]:
        """Return an image's message part, and its width and height, whose pixels the budget loses."""
        async with budget.turn:
            check = partial(
                _checked_part,
                data,
                pixels_left=budget.left("pixels"),
                max_pixels=budget.limit("pixels"),
                param=param,
            )
            part, size = await asyncio.get_running_loop().run_in_executor(self._threads, check)
            budget.take("pixels", size[0] * size[1], param=param)
            budget.held.take(CHANNELS * size[0] * size[1])
        return part, size

    async def _fetch_image(self, media_part: MediaPart, budget: Budget) -> bytes:
        data = BytesIO()

        def write(piece: bytes) -> None:
            budget.held.take(COPIES * len(piece))
            data.write(piece)

        async with budget.fetches:
            limits = self._image_limits(media_part.param)
            await read_source(media_part.url, write, limits, self._settings, self._means)
        return data.getvalue()

    def _image_limits(self, param: str) -> FetchLimits:
        settings = self._settings
        return FetchLimits(
            kind="image", max_bytes=settings.max_image_bytes, seconds=settings.fetch_seconds, param=param
        )


def _stored_part(
    medium: StoredMedium, messages: Sequence[Message], media_part: MediaPart, budget: Budget
) -> Mapping[str, Any]:
    """Return the message part of a medium that was sent before, and take from the budget what it takes.

    Its bytes count towards the memory of the store, because all requests share them. Only here may a part say
    whether it stands within a text: the server that has sent it has cut the text there. Raises ApiError if it
    is an image where a video is named or the other way round.
    """
    if medium.part["type"] != f"{media_part.medium}_url":
        raise ApiError(f"{media_part.param} names a medium of the other kind.", param=media_part.param)
    if medium.image_size is not None:
        width, height = medium.image_size
        budget.take("pixels", width * height, param=media_part.param)
        budget.held.take(CHANNELS * width * height)
    if medium.video is not None:
        frames, tiles_per_frame = medium.video.tiles.shape[:2]
        budget.take("frames", frames, param=media_part.param)
        budget.take("tiles", frames * tiles_per_frame, param=media_part.param)
    inline = messages[media_part.message]["content"][media_part.part].get(INLINE, False)
    return {**medium.part, INLINE: inline is True}


def _checked_part(
    data: bytes, *, pixels_left: int, max_pixels: int, param: str
) -> tuple[Mapping[str, Any], tuple[int, int]]:
    media_type, size = check_image(data, pixels_left=pixels_left, max_pixels=max_pixels, param=param)
    return image_part(data, media_type), size
