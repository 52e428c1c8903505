"""Resize images into tiles: the same bytes as Pillow's bicubic resizing, several times faster.

Pillow's algorithm (libImaging/Resample.c, 8 bits per channel) resizes one side of the image after the other
and rounds to bytes in between. An output value is the sum of some input values times fixed-point factors.
These sums are exact integer arithmetic, so they may be computed in any order. Here many values are computed
at once. To resize the columns, the loops run over the bytes of one image row. To resize the rows, LANES image
rows are written as the columns of a block, and the loops run over the bytes of one row of that block.

Legend: H, W input height, width; L bytes side by side; N outputs; K factors of an output; S a tile's side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .pixels import pixel_bands
from .resize_kernels import BITS, SPARE, block_to_rows, combine_block, combine_lines, rows_to_block

REACH, A = 2.0, -0.5  # The reach and the only parameter of the bicubic kernel.
LANES = 64  # Image rows in a block: with 64, the block of a photo stays in the L2 cache.
BAND = 2 * LANES  # Image rows that are copied at a time where Pillow can't lend its memory.


@dataclass(frozen=True)
class Weights:
    """The first input, the number of inputs, and the factors (in 1/2**BITS) of each of N outputs."""

    first_N: NDArray[np.uintp]
    count_N: NDArray[np.uintp]
    factors_NK: NDArray[np.int32]

    @property
    def arrays(self) -> tuple[NDArray[np.uintp], NDArray[np.uintp], NDArray[np.int32]]:
        """The three arrays in the order of the kernels' parameters."""
        return self.first_N, self.count_N, self.factors_NK


def resize_into(image: Image.Image | NDArray[np.uint8], grids: Sequence[NDArray[np.uint8]]) -> None:
    """Fill each grid (rows, columns, S, S, 3) with the image, resized to columns * S by rows * S pixels.

    `image` is a PIL image in mode RGB or uint8 (H, W, 3). The bytes equal those of Pillow 13's
    `Image.resize(..., BICUBIC)`. The compiled loops release the GIL, so other threads can run.
    """
    if isinstance(image, Image.Image):
        width, height = image.size
    else:
        height, width = image.shape[:2]
    rows_first: list[NDArray[np.uint8]] = []
    columns_first: list[NDArray[np.uint8]] = []
    for grid in grids:
        high, wide = grid.shape[0] * grid.shape[2], grid.shape[1] * grid.shape[3]
        tall = shrinks_columns_first(width, height, wide, high)
        (columns_first if tall else rows_first).append(grid)
    if rows_first:
        _rows_first(image, width, height, rows_first)
    for grid in columns_first:
        _columns_first(image, width, height, grid)


def shrinks_columns_first(width: int, height: int, wide: int, high: int) -> bool:
    """Return whether Pillow resizes the columns before the rows, to `wide` x `high` pixels.

    Since version 13.0 it does so where the height shrinks a lot more than the width; older versions always
    resize the rows first. The order changes the rounded bytes.
    """
    return high < height and height - high > 2 * (width - wide)


@lru_cache(maxsize=256)
def weights(size_in: int, size_out: int) -> Weights:
    """Return the bicubic weights along one side.

    The computation repeats Pillow's `precompute_coeffs` operation by operation, in float64. SPARE factors of
    0 follow the last factor of every output.
    """
    scale = size_in / size_out
    stretch = max(scale, 1.0)
    reach = REACH * stretch
    centre_N = (np.arange(size_out) + 0.5) * scale
    first_N = np.maximum((centre_N - reach + 0.5).astype(np.int64), 0)
    count_N = np.minimum((centre_N + reach + 0.5).astype(np.int64), size_in) - first_N
    step_K = np.arange(count_N.max())
    distance_NK = np.abs((step_K + first_N[:, None] - centre_N[:, None] + 0.5) * (1.0 / stretch))
    weight_NK = np.where(step_K < count_N[:, None], _bicubic(distance_NK), 0.0)
    total_N = np.zeros(size_out)
    for k in step_K:  # Pillow adds the weights in this order; another order could round differently.
        total_N += weight_NK[:, k]
    scaled_NK = weight_NK / total_N[:, None] * (1 << BITS)
    factors_NK = np.trunc(scaled_NK + np.where(scaled_NK < 0, -0.5, 0.5)).astype(np.int32)
    return Weights(
        first_N.astype(np.uintp), count_N.astype(np.uintp), np.pad(factors_NK, ((0, 0), (0, SPARE)))
    )


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((A + 2.0) * x - (A + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * A
    return np.where(x < 1.0, near, np.where(x < REACH, far, 0.0))


class _Grid:
    """A grid that is filled from the top, while the image's rows arrive some at a time."""

    def __init__(self, grid: NDArray[np.uint8], width: int, height: int) -> None:
        rows, self._columns, self._side = grid.shape[:3]
        self._tiles_NL = grid.reshape(-1, 3 * self._side)
        self._across = weights(width, self._columns * self._side)
        self._down = weights(height, rows * self._side)
        self._end_N = self._down.first_N + self._down.count_N
        # There is room for the resized rows that later outputs still need, and for the next block of rows.
        room = int(self._down.count_N.max()) + LANES + SPARE
        self._lines = np.empty((room, 3 * self._columns * self._side + 1), np.uint8)
        # `_top` is the image row of the first line. `_num_finished` counts finished outputs.
        self._top = self._num_lines = self._num_finished = 0
        self._block_WL = np.empty((self._columns * self._side, 3 * LANES + 1), np.uint8)
        self._sums_L = np.empty(3 * max(LANES, self._side), np.int32)

    def take(self, block_WL: NDArray[np.uint8], num_rows: int) -> None:
        """Take the next rows of the image, at most LANES, as the columns of a block."""
        combine_block(block_WL, *self._across.arrays, self._sums_L, self._block_WL)
        block_to_rows(self._block_WL, self._lines[self._num_lines : self._num_lines + num_rows])
        self._num_lines += num_rows
        ready = int(np.searchsorted(self._end_N, self._top + self._num_lines, side="right"))
        outputs = (self._top, self._num_finished, ready)
        combine_lines(
            self._lines, *outputs, *self._down.arrays, self._sums_L, self._tiles_NL, self._columns, self._side
        )
        self._num_finished = ready
        if ready < len(self._end_N):
            unneeded = int(self._down.first_N[ready]) - self._top
            if unneeded > 0:
                self._lines[: self._num_lines - unneeded] = self._lines[unneeded : self._num_lines]
                self._top, self._num_lines = self._top + unneeded, self._num_lines - unneeded


def _rows_first(
    image: Image.Image | NDArray[np.uint8], width: int, height: int, grids: Sequence[NDArray[np.uint8]]
) -> None:
    """Resize the rows and then the columns, for all grids together, so that the image is read once."""
    targets = [_Grid(grid, width, height) for grid in grids]
    block_WL = np.empty((width + SPARE, 3 * LANES + 1), np.uint8)
    for _, band in pixel_bands(image, BAND):
        for top in range(0, len(band), LANES):
            rows = band[top : top + LANES]
            rows_to_block(rows.reshape(len(rows), -1), band.shape[2], block_WL)
            for target in targets:
                target.take(block_WL, len(rows))


def _columns_first(
    image: Image.Image | NDArray[np.uint8], width: int, height: int, grid: NDArray[np.uint8]
) -> None:
    """Resize the columns into an image of the grid's height, and then the rows of that image."""
    num_lines = grid.shape[0] * grid.shape[2]
    down = weights(height, num_lines)
    lines: NDArray[np.uint8] | None = None
    for top, band in pixel_bands(image, BAND):
        if lines is None:
            lines = np.empty((height + SPARE, width * band.shape[2]), np.uint8)
        lines[top : top + len(band)] = band.reshape(len(band), -1)
    assert lines is not None
    middle_NL = np.empty((num_lines, lines.shape[1]), np.uint8)
    sums_L = np.empty(lines.shape[1], np.int32)
    combine_lines(lines, 0, 0, num_lines, *down.arrays, sums_L, middle_NL, 1, num_lines)
    _rows_first(middle_NL.reshape(num_lines, width, -1), width, num_lines, [grid])
