"""The images and videos of a conversation: found, fetched, checked, and put back inline.

After this the messages hold text, data: URLs of checked images and handles of decoded videos, and nothing
else, so whatever reads them (vLLM, a remote critic) has nothing left to fetch, open or trust.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import httpx

from model.tiling import TilingConfig

from .errors import ApiError
from .fetch import Wanted
from .images import check_image
from .metrics import Metrics
from .settings import Settings
from .source import read_source
from .videos import HANDLE, VideoReader, Videos, VideoWish

Message = Mapping[str, Any]
TEXT_PARTS = ("text", "refusal")
MEDIA_PARTS = ("image_url", "video_url")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an image or video stands: messages[message].content[part]."""

    message: int
    part: int
    kind: str  # one of MEDIA_PARTS
    url: str

    @property
    def param(self) -> str:
        return f"messages[{self.message}].content[{self.part}].{self.kind}"


class Media:
    """Makes conversations self-contained; owns what decodes."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="internvl3-decode")
        self._reader = VideoReader(settings, metrics, self._tls)

    async def inline(
        self, messages: Sequence[Message], wish: VideoWish, tiling: TilingConfig
    ) -> tuple[tuple[Message, ...], Videos]:
        """The messages with every image as the data: URL of its checked bytes and every video as a handle,
        and the videos by handle; raises ApiError (400).
        """
        places = [place for index, message in enumerate(messages) for place in _places(index, message)]
        self._check_counts(places)
        parts: dict[tuple[int, int], Mapping[str, Any]] = {}
        videos: dict[str, Any] = {}
        pixels = self._settings.max_pixels
        for place in places:  # one after the other: what is left of the pixels bounds the next one's decoding
            if place.kind == "video_url":
                handle, video = await self._reader.read(place.url, wish, tiling, param=place.param)
                videos[handle] = video
                part = _video_part(handle)
            else:
                data = await self._load_image(place)
                check = partial(check_image, data, max_pixels=pixels, param=place.param)
                media_type, count = await asyncio.get_running_loop().run_in_executor(self._threads, check)
                pixels -= count
                part = _image_part(data, media_type)
            parts[place.message, place.part] = part
        return tuple(_with_parts(index, message, parts) for index, message in enumerate(messages)), videos

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check_counts(self, places: Sequence[_Place]) -> None:
        for kind, name, most in (
            ("image_url", "images", self._settings.max_images),
            ("video_url", "videos", self._settings.max_videos),
        ):
            count = sum(place.kind == kind for place in places)
            if count > most:
                raise ApiError(f"A request may hold {most} {name}, not {count}.", param="messages")

    async def _load_image(self, place: _Place) -> bytes:
        settings = self._settings
        wanted = Wanted(
            kind="image",
            max_bytes=settings.max_image_bytes,
            seconds=settings.fetch_seconds,
            param=place.param,
        )
        data = BytesIO()
        await read_source(place.url, data.write, wanted, settings, tls=self._tls)
        return data.getvalue()


def _places(index: int, message: Message) -> list[_Place]:
    """The media of one message; refuses every part that is neither text nor an image or video by URL."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return []
    if not isinstance(content, list):
        raise ApiError(
            "A message's content must be a string or a list of parts.", param=f"messages[{index}].content"
        )
    places: list[_Place] = []
    for number, part in enumerate(content):
        param = f"messages[{index}].content[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in TEXT_PARTS:
            if not isinstance(part.get(kind), str):
                raise ApiError(f"{param}.{kind} must be a string.", param=f"{param}.{kind}")
        elif kind in MEDIA_PARTS:
            places.append(_Place(message=index, part=number, kind=kind, url=_url(part, kind, param)))
        else:
            raise ApiError(
                f"{param}: parts of type {str(kind)[:40]!r} are not supported yet; "
                "send text, image_url and video_url.",
                param=f"{param}.type",
            )
    return places


def _url(part: Mapping[str, Any], kind: str, param: str) -> str:
    held = part.get(kind)
    url = held.get("url") if isinstance(held, dict) else held
    if not isinstance(url, str):
        raise ApiError(f"{param}.{kind}.url must be a string.", param=f"{param}.{kind}")
    return url


def _image_part(data: bytes, media_type: str) -> Mapping[str, Any]:
    """The part as vLLM reads it. The uuid is its cache key; a client's own could stand for another client's
    image.
    """
    url = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}, "uuid": hashlib.sha256(data).hexdigest()}


def _video_part(handle: str) -> Mapping[str, Any]:
    return {"type": "video_url", "video_url": {"url": handle}, "uuid": handle.removeprefix(HANDLE)}


def _with_parts(index: int, message: Message, parts: Mapping[tuple[int, int], Mapping[str, Any]]) -> Message:
    """The message with its checked parts; of text parts only the text stays (no field smuggles media past
    the check).
    """
    content = message.get("content")
    if not isinstance(content, list):
        return message
    checked = [
        parts.get((index, number)) or {"type": part["type"], part["type"]: part[part["type"]]}
        for number, part in enumerate(content)
    ]
    return {**message, "content": checked}
