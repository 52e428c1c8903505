"""Fetch, check and decode the images and videos of a conversation.

Afterwards the messages hold only text, and handles of decoded images and videos. So vLLM, which reads the
messages later, never fetches a URL and never opens or decodes a file. Policy and critic, with all of its
candidates, see the one decoded image.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from model.images.tiling import TilingConfig
from model.media_in_text import INLINE
from model.video.tiles import Video
from server.errors import ApiError
from server.request_media import HANDLE, LoadedImage, Media, VideoOptions
from server.settings import Settings
from server.telemetry.metrics import Metrics

from .budget import Budget
from .failures import counted_failures
from .fetch import FetchMeans
from .file_parts import with_files
from .image_reader import ImageReader, pixel_bytes
from .message_parts import MediaPart, Message, find_media_parts, handle_part, with_parts, with_salt
from .opened_file import OpenFile, open_nothing
from .stored import StoredMedium
from .tiles import count_tiles
from .transfer import STORED, TILES, read_tiles
from .videos import VideoReader


class MediaLoader:
    """Loads all media of a conversation. It owns what fetches and decodes them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._means = FetchMeans.create()
        self._images = ImageReader(settings, metrics, self._means)
        self._videos = VideoReader(settings, metrics, self._means)

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
        open_file: OpenFile = open_nothing,
    ) -> tuple[tuple[Message, ...], Media]:
        """Return the messages with a handle in place of each image and video, and the media by handle.

        An image's handle is a hash of its bytes, and a video's also of what was taken from it.

        Args:
            messages: the messages of a chat request.
            video_options: the frames and tiles to take from each video.
            tiling: the policy's rules for cutting an image into tiles.
            budget: what the request may still use.
            vision: the request's mm_processor_kwargs, which change the tiling of images.
            salt: keeps the media in the engines' caches apart from those of requests with another salt.
            stored: media that were sent before, by the URLs that name them in the messages.
            open_file: opens the files that the messages name by their ids.

        Raises:
            ApiError: 400, if a part is not supported, can't be fetched or decoded, or exceeds a limit. 504,
                if the request's seconds for media are over.
        """
        media_parts = [
            media_part
            for index, message in enumerate(messages)
            for media_part in find_media_parts(index, message)
        ]
        if any(media_part.file_id is not None for media_part in media_parts):
            media_parts = await with_files(media_parts, open_file, budget, self._metrics)
        for medium in ("image", "video"):
            count = sum(media_part.medium == medium for media_part in media_parts)
            with counted_failures(medium, self._metrics):
                budget.take(f"{medium}s", count)
        if not media_parts:
            return tuple(with_parts(index, message, {}) for index, message in enumerate(messages)), {}
        # Images are fetched side by side, and checked in their order, so that the same request gets the same
        # error each time.
        fetching = {
            media_part: asyncio.create_task(self._images.fetch(media_part, budget))
            for media_part in media_parts
            if media_part.medium == "image" and media_part.url not in stored
        }
        parts: dict[tuple[int, int], Mapping[str, Any]] = {}
        media: dict[str, LoadedImage | Video] = {}
        sizes: list[tuple[int, int]] = []
        loaded: LoadedImage | Video
        try:
            for media_part in media_parts:
                # Only here, so that a request that is refused counts once, however many of its media fail.
                assert media_part.medium is not None, "`with_files` has looked at the files"
                with counted_failures(media_part.medium, self._metrics):
                    async with budget.media_time():
                        if kept := stored.get(media_part.url):
                            handle, loaded = _take_stored(kept, media_part, budget)
                        elif media_part.medium == "video":
                            with self._metrics.media.seconds.labels("video").time():
                                handle, loaded = await self._videos.read(
                                    media_part,
                                    video_options,
                                    tiling,
                                    budget,
                                    salt=salt,
                                )
                        else:
                            data, seconds = await fetching[media_part]
                            begun = time.perf_counter()
                            handle, loaded = await self._images.read(data, media, budget, media_part.param)
                            seconds += time.perf_counter() - begun
                            self._metrics.media.seconds.labels("image").observe(seconds)
                media[handle] = loaded
                if isinstance(loaded, LoadedImage):
                    sizes.append(loaded.pixels.size)
                part = handle_part(media_part.medium, handle)
                if media_part.url in stored:
                    part = {**part, INLINE: _stands_within_text(messages, media_part)}
                parts[media_part.message, media_part.part] = with_salt(part, salt)
        finally:
            for task in fetching.values():
                task.cancel()
            await asyncio.gather(*fetching.values(), return_exceptions=True)
        with counted_failures("image", self._metrics):
            tiles = count_tiles(sizes, vision, tiling, self._settings)
            budget.take("tiles", tiles)
        self._metrics.media.tiles.labels("image").inc(tiles)
        return tuple(with_parts(index, message, parts) for index, message in enumerate(messages)), media

    async def check_upload(
        self, media_type: str, data: bytearray, tiling: TilingConfig, budget: Budget, *, param: str
    ) -> StoredMedium:
        """Return a medium that another server has sent, checked as those of a request are.

        Args:
            media_type: `transfer.TILES`, or the type of an image.
            data: the body of the request.
            tiling: the critic's rules for cutting an image into tiles.
            budget: what the request may use.
            param: the field of the request, for error messages.

        Raises:
            ApiError: 400, if the medium can't be decoded or exceeds a limit.
        """
        self._metrics.media.bytes.labels("video" if media_type == TILES else "image").inc(len(data))
        if media_type != TILES:
            if len(data) > self._settings.max_image_bytes:
                raise self._images.limits(param).too_large()
            _, image = await self._images.read(bytes(data), {}, budget, param)
            return StoredMedium(medium=image, size=len(image.file) + pixel_bytes(image.pixels))
        video = read_tiles(data, param=param)
        if video.tiles.shape[2] != tiling.tile_size:
            raise ApiError(
                f"The tiles have {video.tiles.shape[2]} pixels a side, but the critic's have "
                f"{tiling.tile_size}. Use a critic whose tiles have the policy's size.",
                param=param,
            )
        return StoredMedium(medium=video, size=len(data))

    def close(self) -> None:
        """End the threads and processes that decode, and forget all videos."""
        self._images.close()
        self._videos.close()
        self._means.close()


def _take_stored(
    kept: StoredMedium, media_part: MediaPart, budget: Budget
) -> tuple[str, LoadedImage | Video]:
    """Return a medium that was sent before, and its handle, and take from the budget what it takes.

    Its bytes count towards the memory of the store, because all requests share them. Raises ApiError if it is
    an image where a video is named or the other way round.
    """
    medium, param = kept.medium, media_part.param
    if isinstance(medium, Video) != (media_part.medium == "video"):
        raise ApiError(f"{param} names a medium of the other kind.", param=param)
    if isinstance(medium, Video):
        frames, tiles_per_frame = medium.tiles.shape[:2]
        budget.take("frames", frames, param=param)
        budget.take("tiles", frames * tiles_per_frame, param=param)
    else:
        budget.take("pixels", medium.pixels.width * medium.pixels.height, param=param)
    return HANDLE + media_part.url.removeprefix(STORED), medium


def _stands_within_text(messages: Sequence[Message], media_part: MediaPart) -> bool:
    """Return whether a medium that was sent before stands within a text.

    Only such a part may say so: the text was cut there by the server that has sent it.
    """
    return messages[media_part.message]["content"][media_part.part].get(INLINE, False) is True
