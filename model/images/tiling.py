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

from .resize import resize_into

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


def tile_image(image: Image.Image | NDArray[np.uint8], config: TilingConfig) -> NDArray[np.uint8]:
    """uint8 RGB tiles (tiles, tile_size, tile_size, 3), row by row; the thumbnail is last.

    A single tile shows the whole image already and gets no thumbnail. `image` is a PIL image or uint8 RGB
    (H, W, 3). A PIL image of another mode is taken as PIL converts it to RGB, as the published code does:

    - alpha (RGBA, LA, a palette's transparency) is dropped, not blended: transparent pixels show the colour
      stored beneath them;
    - 16 bits a value (I;16, I) are clipped at 255, not scaled down, and F likewise;
    - CMYK is converted without a colour profile; of an animation the present frame counts, the first after
      opening;
    - the EXIF orientation is not applied.

    vLLM's loader, through which images come into the server, blends alpha over white and turns images upright
    before this.

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
    resize_into(image, grids)
    return tiles


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
