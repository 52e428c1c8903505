"""Read the bytes behind a part's URL, which is a data: URL or an http(s) URL."""

import asyncio
import base64
import binascii

from server.errors import ApiError
from server.settings import Settings

from .failures import MediaError
from .fetch import FetchLimits, FetchMeans, Sink, fetch

_EXAMPLES = {"image": "data:image/png;base64,....", "video": "data:video/mp4;base64,...."}
_PIECE = 4 * 2**20  # characters that are decoded at a time; base64 can be cut after every fourth


async def read_frames(url: str, sink: Sink, limits: FetchLimits, *, most: int) -> tuple[int, ...]:
    """Pass the frames of `data:video/jpeg;base64,FRAME,FRAME,...` to `sink`, and return their sizes in bytes.

    Raises:
        ApiError: 400 with `limits.param`, if there are more than `most` frames, or, as MediaError, if they
            can't be read or exceed the limits.
    """
    return await asyncio.to_thread(_decode_frames, url, sink, limits, most)


async def read_source(
    url: str, sink: Sink, limits: FetchLimits, settings: Settings, means: FetchMeans
) -> None:
    """Pass the bytes behind `url` to `sink` piece by piece.

    Raises:
        MediaError: 400 with `limits.param`, if the URL is refused, can't be read, or exceeds the limits.
    """
    if url[:5].lower() == "data:":
        await asyncio.to_thread(_decode, url, sink, limits)  # decoding tens of megabytes takes time
    else:
        await fetch(url, sink, limits, settings, means)


def _decode_frames(url: str, sink: Sink, limits: FetchLimits, most: int) -> tuple[int, ...]:
    payload = _payload(url, limits)
    count = payload.count(",") + 1
    if count > most:
        raise ApiError(
            f"A video may hold {most} frames, not {count}. Send fewer frames.",
            param=limits.param,
            code="too_many_frames",
        )
    sizes, start = [], 0
    while start <= len(payload):
        end = payload.find(",", start)
        end = len(payload) if end < 0 else end
        frame = _bytes(payload[start:end], limits)
        sink(frame)
        sizes.append(len(frame))
        start = end + 1
    return tuple(sizes)


def _decode(url: str, sink: Sink, limits: FetchLimits) -> None:
    payload = _payload(url, limits)
    for start in range(0, len(payload), _PIECE):
        sink(_bytes(payload[start : start + _PIECE], limits))


def _payload(url: str, limits: FetchLimits) -> str:
    """Return the base64 of a data: URL. Raises MediaError if there is none, or too much of it."""
    head, comma, payload = url[5:].partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise MediaError(
            f"The data: URL has the wrong form. Send one like {_EXAMPLES[limits.kind]}",
            kind=limits.kind,
            reason="base64",
            param=limits.param,
        )
    if len(payload) * 3 // 4 > limits.max_bytes:
        raise limits.too_large()
    return payload


def _bytes(encoded: str, limits: FetchLimits) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise MediaError(
            "The data: URL does not hold valid base64. Encode the file again.",
            kind=limits.kind,
            reason="base64",
            param=limits.param,
        ) from None
