"""Cut an image into a grid of square tiles, and add a thumbnail of the image (dynamic tiling).

The grid and the pixels are those of the published preprocessing, because the checkpoints were trained on them
(OpenGVLab/InternVL `internvl_chat/internvl/train/dataset.py`, `find_closest_aspect_ratio` and
`dynamic_preprocess`).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .grids import fill_grids

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
"""ImageNet's mean and standard deviation of RGB values in [0, 1]; the model normalises tiles with them."""


@dataclass(frozen=True)
class TilingConfig:
    """The limits for cutting an image into tiles.

    `tile_size` is the side of a tile in pixels. A grid has between `min_tiles` and `max_tiles` tiles, and the
    thumbnail isn't counted. Raises ValueError if no grid can satisfy the limits.
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
    """Return the grid (columns, rows) whose aspect ratio is closest to that of a `width` x `height` image.

    Among equally close grids it is the smallest, unless the image has more than half the pixels of the next
    one.

    Raises:
        ValueError: a side is 0 or less.
    """
    if width < 1 or height < 1:
        raise ValueError(f"an image needs at least 1 x 1 pixels, not {width} x {height}")
    aspect = width / height
    best, best_distance = (1, 1), float("inf")
    for columns, rows in _allowed_grids(config.min_tiles, config.max_tiles):
        distance = abs(aspect - columns / rows)
        if distance < best_distance:
            best, best_distance = (columns, rows), distance
        elif distance == best_distance and width * height > 0.5 * config.tile_size**2 * columns * rows:
            best = (columns, rows)
    return best


def num_tiles(width: int, height: int, config: TilingConfig) -> int:
    """Return how many tiles `tile_image` makes of an image, thumbnail included. Raises as `choose_grid`."""
    columns, rows = choose_grid(width, height, config)
    return _with_thumbnail(columns * rows, config)


def max_num_tiles(config: TilingConfig) -> int:
    """Return the most tiles that `tile_image` makes of any image, thumbnail included."""
    return _with_thumbnail(config.max_tiles, config)


def tile_image(image: Image.Image | NDArray[np.uint8], config: TilingConfig) -> NDArray[np.uint8]:
    """Return the tiles of an image, uint8 RGB (tiles, tile_size, tile_size, 3), with the thumbnail last.

    The tiles of the grid come row by row. A single tile shows all of the image, so it gets no thumbnail.
    `image` is a PIL image or uint8 RGB (H, W, 3). A PIL image of another mode is converted to RGB by PIL, as
    in the published code:

    - alpha (RGBA, LA, a palette's transparency) is dropped, not blended, so transparent pixels show the
      colour that is stored in them;
    - values of 16 bits (I;16, I) and of mode F are clipped at 255, not scaled down;
    - CMYK is converted without a colour profile;
    - an animation is represented by its current frame, which is the first one after opening;
    - the EXIF orientation is not applied.

    The server's images come through vLLM's loader, which blends alpha over white and turns images upright
    before this function sees them.

    Raises:
        ValueError: the image has no pixels, or the array is no RGB image.
    """
    if not isinstance(image, Image.Image) and (image.dtype != np.uint8 or image.shape[2:] != (3,)):
        raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
    if isinstance(image, Image.Image):
        image = image if image.mode == "RGB" else image.convert("RGB")
        width, height = image.size
    else:
        height, width = image.shape[:2]
    columns, rows = choose_grid(width, height, config)
    side = config.tile_size
    tiles = np.empty((num_tiles(width, height, config), side, side, 3), np.uint8)
    num_cut = columns * rows
    grids = [tiles[:num_cut].reshape(rows, columns, side, side, 3)]
    if len(tiles) > num_cut:
        grids.append(tiles[num_cut:].reshape(1, 1, side, side, 3))
    fill_grids(image, grids)
    return tiles


def _with_thumbnail(tiles: int, config: TilingConfig) -> int:
    return tiles + (config.use_thumbnail and tiles != 1)


@lru_cache(maxsize=64)
def _allowed_grids(min_tiles: int, max_tiles: int) -> tuple[tuple[int, int], ...]:
    # The published code builds the list in this way. Grids of equal area stay in the order of Python's set,
    # and that order decides between 2x1 and 1x2 where both are equally close. It is the same on every
    # machine, because the hash of a tuple of ints is.
    grids = {
        (columns, rows)
        for n in range(min_tiles, max_tiles + 1)
        for columns in range(1, n + 1)
        for rows in range(1, n + 1)
        if min_tiles <= columns * rows <= max_tiles
    }
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))
