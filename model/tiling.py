"""Dynamic tiling: one image becomes a grid of square tiles plus a thumbnail of the whole.

Grid and pixels are those of the published preprocessing (OpenGVLab/InternVL
`internvl_chat/internvl/train/dataset.py`, `find_closest_aspect_ratio` and `dynamic_preprocess`): the
checkpoints were trained on exactly these.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
"""ImageNet's, of RGB scaled to [0, 1]: with these the device normalises tiles."""


@dataclass(frozen=True)
class TilingConfig:
    """How an image may be cut.

    `tile_size` is a side in pixels; a grid has between `min_tiles` and `max_tiles` tiles, the thumbnail not
    counted. Raises ValueError where no grid could satisfy it.
    """

    tile_size: int
    min_tiles: int
    max_tiles: int
    use_thumbnail: bool

    def __post_init__(self) -> None:
        if self.tile_size < 1:
            raise ValueError(f"tile_size must be at least 1 pixel, not {self.tile_size}")
        if not 1 <= self.min_tiles <= self.max_tiles:
            raise ValueError(
                f"a grid needs 1 <= min_tiles <= max_tiles, not {self.min_tiles} and {self.max_tiles}"
            )


def choose_grid(width: int, height: int, config: TilingConfig) -> tuple[int, int]:
    """(columns, rows) whose aspect ratio is the closest to that of a `width` x `height` image.

    Of equally close grids the smallest is taken, unless the image has more than half the pixels of the next
    one.

    Raises:
        ValueError: a side is 0 or less.
    """
    if width < 1 or height < 1:
        raise ValueError(f"an image needs at least 1 x 1 pixels, not {width} x {height}")
    aspect = width / height
    best, best_distance = (1, 1), float("inf")
    for columns, rows in _candidate_grids(config.min_tiles, config.max_tiles):
        distance = abs(aspect - columns / rows)
        if distance < best_distance:
            best, best_distance = (columns, rows), distance
        elif distance == best_distance and width * height > 0.5 * config.tile_size**2 * columns * rows:
            best = (columns, rows)
    return best


def num_tiles(width: int, height: int, config: TilingConfig) -> int:
    """How many tiles `tile_image` makes of an image, thumbnail included. Raises as `choose_grid`."""
    columns, rows = choose_grid(width, height, config)
    return _with_thumbnail(columns * rows, config)


def max_num_tiles(config: TilingConfig) -> int:
    """The most tiles that `tile_image` can make of any image, thumbnail included."""
    return _with_thumbnail(config.max_tiles, config)


def tile_image(image: Image.Image, config: TilingConfig) -> NDArray[np.uint8]:
    """uint8 RGB tiles (tiles, tile_size, tile_size, 3), row by row; the thumbnail is last.

    A single tile shows the whole image already and gets no thumbnail. Any mode is taken as PIL converts it to
    RGB, as the published code does: alpha is dropped, not blended, so transparent pixels show the colour
    stored beneath them.

    Raises:
        ValueError: the image has no pixels.
    """
    image = image.convert("RGB")
    columns, rows = choose_grid(image.width, image.height, config)
    side = config.tile_size
    whole = np.asarray(image.resize((side * columns, side * rows), Image.Resampling.BICUBIC))
    tiles = whole.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    thumbnail = []
    if _with_thumbnail(len(tiles), config) != len(tiles):
        thumbnail.append(np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))[None])
    return np.concatenate([tiles, *thumbnail])


def _with_thumbnail(tiles: int, config: TilingConfig) -> int:
    return tiles + (config.use_thumbnail and tiles != 1)


@lru_cache(maxsize=64)
def _candidate_grids(min_tiles: int, max_tiles: int) -> tuple[tuple[int, int], ...]:
    # Built as the published code builds it: grids of equal area stay in the order of Python's set (the hash
    # of a tuple of ints is the same everywhere), and that order decides between 2x1 and 1x2 where both are
    # equally close.
    grids = {
        (columns, rows)
        for n in range(min_tiles, max_tiles + 1)
        for columns in range(1, n + 1)
        for rows in range(1, n + 1)
        if min_tiles <= columns * rows <= max_tiles
    }
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))
