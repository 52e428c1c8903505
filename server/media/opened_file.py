"""A file that a client has uploaded before, and what its content is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from server.errors import no_files

HEAD = 400  # bytes at the beginning of a file that show what it is
PACKET = 188  # bytes of a packet of MPEG-TS, which begins with SYNC
SYNC = b"\x47"
IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
VIDEOS = (b"\x1aE\xdf\xa3", b"FLV")  # Matroska with WebM, and FLV
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # that an MP4 or MOV may begin with
RIFF = {b"WEBP": "image", b"AVI ": "video"}


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A complete file that never changes: its id, its path, and its size in bytes."""

    id: str
    path: Path
    size: int

    def medium(self) -> str | None:
        """Return "image" or "video", as the content says, or None if it is neither. This reads the file."""
        with self.path.open("rb") as file:
            return medium_of(file.read(HEAD))


# Returns the file with an id. The second argument is the field of the request, for error messages. Raises
# ApiError if the client has no such file.
OpenFile = Callable[[str, str], Awaitable[OpenedFile]]


async def open_nothing(file_id: str, param: str) -> OpenedFile:
    """Raise ApiError, as a server that keeps no files does."""
    raise no_files(param)


def medium_of(head: bytes) -> str | None:
    """Return "image" or "video" for the first HEAD bytes of a file, or None if they are neither."""
    if head[:4] == b"RIFF":
        return RIFF.get(head[8:12])
    if head.startswith(IMAGES):
        return "image"
    is_stream = head[:1] == SYNC == head[PACKET : PACKET + 1]
    return "video" if head.startswith(VIDEOS) or head[4:8] in BOXES or is_stream else None
