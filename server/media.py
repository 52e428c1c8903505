"""The images of a conversation: found, fetched, checked, and put back inline.

After this the messages hold text and data: URLs of checked images and nothing else, so whatever reads them
(vLLM, a remote critic) has nothing left to fetch, open or trust.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from .errors import ApiError
from .fetch import fetch
from .images import check_image
from .settings import Settings

Message = Mapping[str, Any]
TEXT_PARTS = ("text", "refusal")


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where an image stands: messages[message].content[part]."""

    message: int
    part: int
    url: str

    @property
    def param(self) -> str:
        return f"messages[{self.message}].content[{self.part}].image_url"


class Media:
    """Makes conversations self-contained; owns the threads that decode."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tls = httpx.create_ssl_context(trust_env=False)
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="internvl3-decode")

    async def inline(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages with every image as the data: URL of its checked bytes; raises ApiError (400)."""
        places = [place for index, message in enumerate(messages) for place in _places(index, message)]
        if len(places) > self._settings.max_images:
            raise ApiError(
                f"A request may hold {self._settings.max_images} images, not {len(places)}.", param="messages"
            )
        parts: dict[tuple[int, int], Mapping[str, Any]] = {}
        pixels = self._settings.max_pixels
        for place in places:  # one after the other: what is left of the pixels bounds the next one's decoding
            data = await self._load(place)
            check = partial(check_image, data, max_pixels=pixels, param=place.param)
            media_type, count = await asyncio.get_running_loop().run_in_executor(self._threads, check)
            pixels -= count
            parts[place.message, place.part] = _inline_part(data, media_type)
        return tuple(_with_parts(index, message, parts) for index, message in enumerate(messages))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self, place: _Place) -> bytes:
        if place.url[:5].lower() == "data:":
            return _decode_data_url(place.url, self._settings.max_image_bytes, place.param)
        return await fetch(place.url, self._settings, tls=self._tls, param=place.param)


def _places(index: int, message: Message) -> list[_Place]:
    """The images of one message; refuses every part that is neither text nor an image by URL."""
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
        elif kind == "image_url":
            places.append(_Place(message=index, part=number, url=_image_url(part, param)))
        else:
            raise ApiError(
                f"{param}: parts of type {str(kind)[:40]!r} are not supported yet; send text and image_url.",
                param=f"{param}.type",
            )
    return places


def _image_url(part: Mapping[str, Any], param: str) -> str:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise ApiError(f"{param}.image_url.url must be a string.", param=f"{param}.image_url")
    return url


def _decode_data_url(url: str, limit: int, param: str) -> bytes:
    head, comma, payload = url[5:].partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ApiError("A data: URL must look like data:image/png;base64,....", param=param)
    if len(payload) * 3 // 4 > limit:
        raise ApiError(f"The image is larger than {limit} bytes. Send a smaller one.", param=param)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("The data: URL does not hold valid base64.", param=param) from None


def _inline_part(data: bytes, media_type: str) -> Mapping[str, Any]:
    """The part as vLLM reads it. The uuid is its cache key; a client's own could stand for another client's
    image.
    """
    url = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}, "uuid": hashlib.sha256(data).hexdigest()}


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
