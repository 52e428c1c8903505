"""Turn a video file into the tiles of its chosen frames.

Each frame is cut into tiles as soon as it is decoded. So the memory holds the tiles and a few frames, however
long the video is. With every backend the colours are those of FFmpeg's conversion to RGB.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.images.tiling import TilingConfig, tile_image

from . import decode_decord as video_decord
from . import decode_pyav as video_pyav
from .file import VideoBounds, VideoError, open_video
from .frames import FrameRequest, choose_frames, nearest_keyframes

__all__ = ["Backend", "Video", "VideoBounds", "VideoError", "read_video"]

Backend = Literal["pyav", "decord"]


@dataclass(frozen=True)
class Video:
    """The chosen frames of a video.

    `tiles` are uint8 RGB (frames, tiles, side, side, 3), with the thumbnail last if the tiling has one.
    `times_F` are seconds from the first shown frame. `width` and `height` are the pixels of a frame as shown,
    after rotation. `duration` is in seconds. `total_frames` counts the shown frames of the file. `missing`
    counts the chosen frames that are too damaged to decode and therefore aren't in `tiles`.
    """

    tiles: NDArray[np.uint8]
    times_F: NDArray[np.float64]
    width: int
    height: int
    duration: float
    total_frames: int
    backend: str
    missing: int


def read_video(
    path: str | Path,
    request: FrameRequest,
    tiling: TilingConfig,
    *,
    limit: int,
    backend: Backend = "pyav",
    bounds: VideoBounds = VideoBounds(),  # noqa: B008 (frozen)
) -> Video:
    """Return the tiles of the frames that `request` chooses, at most `limit` frames.

    For files of strangers use `model.video.worker.read_video_isolated`, because a decoder can hang or crash.

    Raises:
        VideoError: the video can't be read, it exceeds `bounds`, or no chosen frame can be decoded.
    """
    if backend not in ("pyav", "decord"):
        raise VideoError(f"There is no video backend {backend}. Use pyav or decord.")
    decode = video_pyav.decode if backend == "pyav" else video_decord.decode
    with open_video(Path(path), bounds) as file:
        chosen = choose_frames(file.times_F, request, limit=limit)
        keyframes = file.shown_keyframes
        if request.mode == "keyframe" and len(keyframes):  # An edit list may hide the only keyframe.
            chosen = nearest_keyframes(chosen, keyframes, file.times_F)
        size: tuple[int, int] | None = None
        tiles = np.empty(0, np.uint8)
        decoded_F = np.zeros(len(chosen), bool)
        for chosen_index, image in decode(file, chosen):
            if size is None:
                size = image.size
                first = tile_image(image, tiling)
                tiles = np.empty((len(chosen), *first.shape), np.uint8)
            # A stream may change its resolution, but its frames share one grid.
            if image.size != size:
                image = image.resize(size, Image.Resampling.BICUBIC)
            tiles[chosen_index] = tile_image(image, tiling)
            decoded_F[chosen_index] = True
        if size is None:
            raise VideoError("None of the chosen frames can be decoded: the video is damaged. Send it again.")
        return Video(
            tiles if decoded_F.all() else tiles[decoded_F],
            file.times_F[chosen][decoded_F],
            *size,
            file.duration,
            len(file.pts_F),
            backend,
            int((~decoded_F).sum()),
        )
