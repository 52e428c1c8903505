"""The form in which one server sends the images and videos of a question to the server of its critic.

An image goes as its file. A video goes as the tiles that were cut from its frames, so it is decoded once: a
line of JSON about the video, and then the bytes of all tiles. Compressing tiles takes longer than sending
them (docs/decisions/0076).
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.media_in_text import INLINE, media_modality
from model.video.tiles import Video
from server.request_media import LoadedImage, Media
from ttscaling.types import Message

from .failures import MediaError
from .message_parts import MEDIA_PARTS

TILES = "application/vnd.internvl3.tiles"
STORED = (
    "stored:"  # begins the URL of a medium that was sent before; its id follows, the SHA-256 of its bytes
)
CHANNELS = 3
PIECE = 2**20  # bytes that are sent at a time
MAX_HEAD = 2**20  # bytes of the JSON about a video

Size = Annotated[int, Field(ge=1, lt=2**31)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TilesHead(BaseModel):
    """What is sent about a video before its tiles; the fields are those of `Video`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    frames: Size
    tiles_per_frame: Size
    tile_size: Size
    times: list[Seconds]
    width: Size
    height: Size
    duration: Seconds
    total_frames: Size
    backend: str = Field(max_length=64)
    missing: int = Field(ge=0)


@dataclass(frozen=True, kw_only=True)
class OutgoingMedium:
    """An image or a video of a question, ready to be sent."""

    media_type: str
    size: int  # bytes of all pieces
    source: bytes | Video  # the file of an image, or a decoded video

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes to send."""
        if isinstance(self.source, Video):
            yield _head(self.source)
            raw = np.ascontiguousarray(self.source.tiles).data.cast("B")
            for start in range(0, len(raw), PIECE):
                yield bytes(raw[start : start + PIECE])
        else:
            for start in range(0, len(self.source), PIECE):
                yield self.source[start : start + PIECE]

    def digest(self) -> str:
        """Return the id of the medium: the SHA-256 of all pieces, in hexadecimal digits."""
        total = hashlib.sha256()
        for piece in self.pieces():
            total.update(piece)
        return total.hexdigest()


def outgoing_media(messages: Sequence[Message], media: Media) -> Mapping[str, OutgoingMedium]:
    """Return the media of a question by the `uuid` of their parts.

    Args:
        messages: messages whose images and videos are keys of `media`.
        media: the decoded images and videos by handle.
    """
    parts = [
        part
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if media_modality(part) is not None
    ]
    return {part["uuid"]: _outgoing(media[part[part["type"]]["url"]]) for part in parts}


def outgoing_messages(messages: Sequence[Message], names: Mapping[str, str]) -> list[Message]:
    """Return the messages of a question as they are sent: each medium is named by its id.

    `names` holds the ids by the `uuid` of the parts.
    """

    def sent(part: Mapping[str, Any]) -> Mapping[str, Any]:
        if media_modality(part) is None:
            return part
        kind, url = part["type"], STORED + names[part["uuid"]]
        return {"type": kind, kind: {"url": url}, INLINE: bool(part.get(INLINE))}

    return [
        {**message, "content": [sent(part) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def stored_names(messages: Sequence[Message]) -> list[str]:
    """Return the ids that the messages of a request name. The messages may still have any form."""
    contents = [message.get("content") for message in messages]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    media = [part.get(kind) for part in parts if isinstance(part, Mapping) for kind in MEDIA_PARTS]
    urls = [medium.get("url") for medium in media if isinstance(medium, Mapping)]
    return [url.removeprefix(STORED) for url in urls if isinstance(url, str) and url.startswith(STORED)]


def read_tiles(data: bytearray, *, param: str) -> Video:
    """Return the video that another server has sent. Its tiles share the memory of `data`.

    Raises MediaError (400 with `param`) if these are no tiles of a video.
    """
    end = data.find(b"\n", 0, MAX_HEAD)
    try:
        head = TilesHead.model_validate_json(bytes(data[: max(0, end)]))
    except ValidationError:
        raise _invalid(param) from None
    shape = (head.frames, head.tiles_per_frame, head.tile_size, head.tile_size, CHANNELS)
    if len(head.times) != head.frames or len(data) - end - 1 != math.prod(shape):
        raise _invalid(param)
    return Video(
        tiles=np.frombuffer(data, np.uint8, offset=end + 1).reshape(shape),
        times_F=np.array(head.times),
        width=head.width,
        height=head.height,
        duration=head.duration,
        total_frames=head.total_frames,
        backend=head.backend,
        missing=head.missing,
    )


def _outgoing(medium: LoadedImage | Video) -> OutgoingMedium:
    if isinstance(medium, Video):
        return OutgoingMedium(media_type=TILES, size=len(_head(medium)) + medium.tiles.nbytes, source=medium)
    return OutgoingMedium(media_type=medium.media_type, size=len(medium.file), source=medium.file)


def _head(video: Video) -> bytes:
    frames, tiles_per_frame, tile_size = video.tiles.shape[:3]
    head = TilesHead(
        frames=frames,
        tiles_per_frame=tiles_per_frame,
        tile_size=tile_size,
        times=video.times_F.tolist(),
        width=video.width,
        height=video.height,
        duration=video.duration,
        total_frames=video.total_frames,
        backend=video.backend,
        missing=video.missing,
    )
    return head.model_dump_json().encode() + b"\n"


def _invalid(param: str) -> MediaError:
    return MediaError(
        f"The body holds no tiles of a video, as {TILES} has them. Send it as internvl3 servers of the same "
        "version do.",
        kind="video",
        reason="invalid",
        param=param,
    )
