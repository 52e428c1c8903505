"""Decode the chosen frames of a video with decord, the reader of InternVL's published code.

decord is used only on request. It is unmaintained, and its last release hangs, fails or shows wrong frames
where PyAV doesn't (docs/decisions/0013). So it gets only videos that it is known to read correctly.
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
    """Yield (index in `chosen`, RGB image as shown) of every chosen frame, in order.

    The reader is closed at the end. Until then it decodes ahead into memory without a limit; only the limit
    of model/video/worker.py stops it.

    Raises:
        VideoError: decord isn't installed, or it can't read this kind of file correctly.
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
        # decord ignores edit lists too, and the number of frames differs then. It seeks by times alone.
        if file.parts or file.open_gops or len(reader) != len(file.times_F):
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
    except Exception:  # decord's errors have no common class, and their texts contain paths.
        raise VideoError("decord could not decode the video. Use the backend pyav for it.") from None
