"""How the frames of a video lie in a folder: one file of JPEGs, and an index that says what they are."""

import io
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image

from .look import Look, look_of
from .take import Take

PIXELS, INDEX = "frames.bin", "index.json"


@dataclass(frozen=True)
class StoredFrames:
    """The frames in a folder. Their file stays open, so they can be read even if the folder vanishes.

    `times` are seconds from the video's first frame, ascending, and `looks` belong to them. `missing` is the
    number of frames that couldn't be decoded. `duration` (seconds), `codec`, `width`, `height` and
    `is_variable` are the video's.
    """

    times: tuple[float, ...]
    looks: tuple[Look, ...]
    duration: float
    codec: str
    width: int
    height: int
    is_variable: bool
    missing: int
    decode_seconds: float
    _places: tuple[tuple[int, int], ...]  # first byte and number of bytes of each frame
    _descriptor: int

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the frames of a folder. Raises OSError or ValueError if they aren't complete there."""
        index = json.loads((folder / INDEX).read_text())
        places = tuple(zip(index.pop("starts"), index.pop("sizes"), strict=True))
        descriptor = os.open(folder / PIXELS, os.O_RDONLY)
        if os.fstat(descriptor).st_size != sum(size for _, size in places):
            os.close(descriptor)
            raise ValueError(f"{folder / PIXELS} doesn't have the size that its index states")
        index["times"], index["looks"] = tuple(index["times"]), tuple(map(tuple, index["looks"]))
        return cls(**index, _places=places, _descriptor=descriptor)

    def jpeg(self, number: int) -> bytes:
        """Return frame `number` as a JPEG."""
        start, size = self._places[number]
        return os.pread(self._descriptor, size, start)

    def close(self) -> None:
        """Close the file; no frame can be read any more."""
        os.close(self._descriptor)


def write_frames(
    folder: Path, frames: Iterable[tuple[float, Image.Image]], take: Take
) -> dict[str, list[Any]]:
    """Write frames, each a time in seconds and an RGB image, and return what the index says of them."""
    rows = []
    with (folder / PIXELS).open("wb") as file:
        for seconds, image in frames:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=take.quality)
            rows.append((seconds, file.tell(), file.write(buffer.getvalue()), look_of(image)))
        file.flush()
        os.fsync(file.fileno())
    rows.sort()
    return {
        name: [row[column] for row in rows]
        for column, name in enumerate(("times", "starts", "sizes", "looks"))
    }


def write_index(folder: Path, index: dict[str, Any]) -> None:
    """Write the index, which makes the folder complete."""
    (folder / INDEX).write_text(json.dumps(index))
