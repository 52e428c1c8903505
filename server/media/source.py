"""The bytes of a part's URL, inline (data:) or fetched (http, https)."""

import asyncio
import base64
import binascii
from ssl import SSLContext

from server.errors import ApiError
from server.settings import Settings

from .fetch import FetchLimits, Sink, fetch

_EXAMPLES = {"image": "data:image/png;base64,....", "video": "data:video/mp4;base64,...."}
_PIECE = 4 * 2**20  # characters decoded at a time; a multiple of four, so that pieces decode by themselves


async def read_source(
    url: str, sink: Sink, wanted: FetchLimits, settings: Settings, *, tls: SSLContext
) -> None:
    """Gives `sink` what `url` holds, piece by piece; raises ApiError (400) naming `wanted.param`."""
    if url[:5].lower() == "data:":
        await asyncio.to_thread(_decode, url, sink, wanted)  # tens of megabytes take a while
    else:
        await fetch(url, sink, wanted, settings, tls=tls)


def _decode(url: str, sink: Sink, wanted: FetchLimits) -> None:
    head, comma, payload = url[5:].partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ApiError(f"A data: URL must look like {_EXAMPLES[wanted.kind]}", param=wanted.param)
    if len(payload) * 3 // 4 > wanted.max_bytes:
        raise wanted.too_large()
    try:
        for start in range(0, len(payload), _PIECE):
            sink(base64.b64decode(payload[start : start + _PIECE], validate=True))
    except (binascii.Error, ValueError):
        raise ApiError("The data: URL does not hold valid base64.", param=wanted.param) from None
