"""Fill grids of tiles with an image: by our compiled loops, or by Pillow where those can't run.

Both give the same bytes. Pillow takes several times longer. It stands in where numba is missing, where it
can't compile for this machine, or where a release of llvmlite has no place for our repair of it.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Resize = Callable[[Image.Image | NDArray[np.uint8], Sequence[NDArray[np.uint8]]], None]


def fill_grids(image: Image.Image | NDArray[np.uint8], grids: Sequence[NDArray[np.uint8]]) -> None:
    """Fill each grid (rows, columns, S, S, 3) with the image, resized to columns * S by rows * S pixels.

    `image` is a PIL image in mode RGB or uint8 (H, W, 3).
    """
    _fastest_resize()(image, grids)


@cache
def _fastest_resize() -> Resize:
    """Return the compiled loops if they work on a small image, which compiles them, or else Pillow."""
    try:
        from .resize import resize_into

        resize_into(Image.new("RGB", (8, 9)), [np.empty((1, 2, 4, 4, 3), np.uint8)])
    except Exception as error:  # numba and LLVM have many types of errors, and none may stop the server
        logging.getLogger("internvl3.tiling").warning(
            "Images are resized by Pillow, several times slower, because numba doesn't work here: %s: %s",
            type(error).__name__,
            next(iter(str(error).splitlines()), ""),
        )
        return _resize_by_pillow
    return resize_into


def _resize_by_pillow(image: Image.Image | NDArray[np.uint8], grids: Sequence[NDArray[np.uint8]]) -> None:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    for grid in grids:
        rows, columns, side = grid.shape[:3]
        resized = picture.resize((columns * side, rows * side), Image.Resampling.BICUBIC)
        grid[:] = np.asarray(resized).reshape(rows, side, columns, side, 3).swapaxes(1, 2)
