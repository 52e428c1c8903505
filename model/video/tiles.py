"""Turn a video file into the tiles of its chosen frames.

Each frame is cut into tiles as soon as it is decoded. So the memory holds the tiles and a few frames, however
long the video is. With every backend the colours are those of FFmpeg's conversion to RGB.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.images.tiling import TilingConfig, tile_image

from . import decode_decord as video_decord
from . import decode_pyav as video_pyav
from .extracted import ExtractedFrames
from .file import VideoBounds, VideoError, VideoFile, open_video
from .frames import FrameRequest, choose_frames, frames_between, nearest_keyframes

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

    For files of strangers use `model.video.workers.DecodeWorkers`, because a decoder can hang or crash.

    Raises:
        VideoError: the video can't be read, it exceeds `bounds`, it ends before a chosen time, or no chosen
            frame can be decoded.
    """
    if backend not in ("pyav", "decord"):
        raise VideoError(f"There is no video backend {backend}. Use pyav or decord.")
    decode = video_pyav.decode if backend == "pyav" else video_decord.decode
    with open_video(Path(path), bounds) as file:
        chosen = _chosen(file.times_F, request, limit, file.duration)
        if request.mode == "keyframe":
            chosen = _keyframes(file, chosen, request)
        tiles, decoded_F, size = _cut(decode(file, chosen), len(chosen), tiling)
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


def read_extracted(
    path: Path, frames: ExtractedFrames, request: FrameRequest, tiling: TilingConfig, *, limit: int
) -> Video:
    """Return the tiles of the frames that `request` chooses among those that a client has extracted.

    Raises:
        VideoError: a chosen frame can't be decoded, or what the client says of their times can't be true.
    """
    count = len(frames.sizes)
    try:
        times_F = frames.timing.times(count)
    except ValueError as error:
        raise VideoError(f"{error}. Correct what you send with the frames.") from None
    duration = frames.timing.seconds(count)
    chosen = _chosen(times_F, request, limit, duration)
    tiles, _, size = _cut(frames.decode(path, chosen), len(chosen), tiling)
    assert size is not None, "each chosen frame is decoded, or refused"
    return Video(tiles, times_F[chosen], *size, duration, frames.timing.num_total(count), "frames", 0)


def _chosen(
    times_F: NDArray[np.float64], request: FrameRequest, limit: int, duration: float
) -> NDArray[np.int64]:
    try:
        return choose_frames(times_F, request, limit=limit, duration=duration)
    except ValueError as error:
        raise VideoError(f"{error}. Choose within the video.") from None


def _cut(
    frames: Iterator[tuple[int, Image.Image]], count: int, tiling: TilingConfig
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], tuple[int, int] | None]:
    """Return the tiles of up to `count` frames, which of them came, and their size; None if none came."""
    size: tuple[int, int] | None = None
    tiles = np.empty(0, np.uint8)
    decoded_F = np.zeros(count, bool)
    for chosen_index, image in frames:
        if size is None:
            size = image.size
            first = tile_image(image, tiling)
            tiles = np.empty((count, *first.shape), np.uint8)
        # A stream may change its resolution, but its frames share one grid.
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        tiles[chosen_index] = tile_image(image, tiling)
        decoded_F[chosen_index] = True
    return tiles, decoded_F, size


def _keyframes(file: VideoFile, chosen: NDArray[np.int64], request: FrameRequest) -> NDArray[np.int64]:
    """Return the keyframes nearest to the chosen frames, between `start` and `end` if there are any."""
    keyframes = file.shown_keyframes
    inside = np.intersect1d(keyframes, frames_between(file.times_F, request.start or 0.0, request.end))
    candidates = inside if len(inside) else keyframes
    if not len(candidates):  # An edit list may hide the only keyframe.
        return chosen
    return nearest_keyframes(chosen, candidates, file.times_F)
