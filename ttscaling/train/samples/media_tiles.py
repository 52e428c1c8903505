"""Read a record's images and videos as uint8 tiles, and degrade them by JPEG as augmentation."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.images.tiling import TilingConfig, tile_image
from model.video.file import VideoError
from model.video.frames import FrameRequest
from model.video.tiles import read_video
from ttscaling.records.bad_records import RecordError
from ttscaling.records.media_paths import read_image

JPEG_QUALITIES = (75, 100)
"""The published range, ends included. Each tile draws a quality from it (InternVL `build_transform`)."""


def tiling_of_several(tiling: TilingConfig, num_images: int) -> TilingConfig:
    """Return the tiling of each of several images, which share the tile limit as published.

    Each image has at least one tile.
    """
    most = max(1, tiling.max_tiles // num_images)
    return replace(tiling, min_tiles=min(tiling.min_tiles, most), max_tiles=most)


def image_tiles(
    paths: Sequence[Path], tiling: TilingConfig, *, augment: np.random.Generator | None
) -> list[NDArray[np.uint8]]:
    """Return each image's tiles (tiles, side, side, 3).

    With a generator for `augment` the tiles go through JPEG compression. Raises RecordError if an image can't
    be read.
    """
    if not paths:
        return []
    each = tiling_of_several(tiling, len(paths))
    images = [tile_image(read_image(path), each) for path in paths]
    return images if augment is None else [jpeg_degraded(tiles, augment) for tiles in images]


def video_frames(path: Path, num_frames: int, tiling: TilingConfig) -> NDArray[np.uint8]:
    """Return `num_frames` evenly spaced frames of a video, one tile each: (frames, side, side, 3).

    A shorter video has fewer. The published training code draws a random frame from each segment. Here it is
    the middle one, as at inference. Raises RecordError if the video can't be decoded.
    """
    one_tile = TilingConfig(tiling.tile_size, min_tiles=1, max_tiles=1, use_thumbnail=False)
    try:
        return read_video(path, FrameRequest(num_frames), one_tile, limit=num_frames).tiles[:, 0]
    except VideoError as error:
        raise RecordError(f"{path} can't be decoded ({error}): replace or remove the video") from error


def jpeg_degraded(tiles_NHWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the tiles after JPEG compression, each at a quality drawn from `JPEG_QUALITIES`."""
    lowest, highest = JPEG_QUALITIES
    qualities_N = rng.integers(lowest, highest + 1, size=len(tiles_NHWC))
    return np.stack([_through_jpeg(tile, int(q)) for tile, q in zip(tiles_NHWC, qualities_N, strict=True)])


def _through_jpeg(tile_HWC: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    with io.BytesIO() as buffer:
        Image.fromarray(tile_HWC).save(buffer, format="JPEG", quality=quality)
        with Image.open(buffer) as degraded:
            return np.asarray(degraded)
