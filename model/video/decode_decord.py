"""Chosen frames decoded with decord, the reader that InternVL's published code uses; only on request.

decord is unmaintained and its last release hangs, fails or shows wrong frames where PyAV doesn't
(docs/decisions/0013), so it gets only what it is known to read right.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .file import VideoError, VideoFile

SAFE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
CODECS = {"h264", "mpeg4"}


def decode(file: VideoFile, chosen: NDArray[np.int64]) -> Iterator[tuple[int, Image.Image]]:
    """(place in `chosen`, RGB image as shown) of every chosen frame, in order.

    The reader is made anew and closed at the end: it decodes ahead into memory without bound as long as it
    lives, so only the limit of model/video/worker.py bounds that.

    Raises:
        VideoError: decord isn't installed, or the file isn't of a kind that it reads right.
    """
    if file.container.format.name not in SAFE or file.stream.codec_context.codec.canonical_name not in CODECS:
        raise VideoError("decord reads H.264 in MP4, MOV or MKV only. Use the backend pyav for this video.")
    try:
        import decord
    except ImportError:
        raise VideoError(
            "The video backend decord is not installed. Install it (pip install decord), or use pyav."
        ) from None
    decord.logging.set_level(decord.logging.QUIET)
    reader = _call(decord.VideoReader, str(file.path), decord.cpu(0), num_threads=1)
    try:
        if file.open_gops or len(reader) != len(file.times_F):  # it doesn't know edit lists either
            raise VideoError("decord would show wrong frames of this video. Use the backend pyav for it.")
        for chosen_index, frame_index in enumerate(chosen):
            yield chosen_index, Image.fromarray(_call(reader.__getitem__, int(frame_index)).asnumpy())
    finally:
        del reader


def _call(function: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except MemoryError:
        raise
    except Exception:  # its errors have no common class, and repeat paths
        raise VideoError("decord could not decode the video. Use the backend pyav for it.") from None
