"""The pixels of an image as arrays, without a copy where Pillow lends its memory.

Pillow keeps an RGB image with four bytes per pixel. `numpy.asarray` packs them into three bytes in a new
array, and this can take longer than the resizing that follows. Through the Arrow C data interface
(`Image.__arrow_c_array__`) Pillow lends its own memory, if the image lies in a single block of memory. A
block has 16 MB unless PILLOW_BLOCK_SIZE sets another size.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class _ArrowArray(ctypes.Structure):
    """The struct ArrowArray of the Arrow C data interface, whose layout never changes."""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
    *((name, ctypes.c_void_p) for name in ("dictionary", "release", "private_data")),
]

_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def pixel_bands(image: Image.Image | NDArray[np.uint8], rows: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the image in bands from top to bottom: the index of the first row, and the pixels.

    The pixels are C-contiguous uint8 (rows, W, 3 or 4); a fourth byte has no meaning. If the image is an
    array, or if Pillow can lend its memory, there is one band with all rows. Otherwise a band has `rows`
    rows. A band is valid until the next one is requested, and must not be written to.

    Args:
        image: a PIL image in mode RGB, or uint8 (H, W, 3).
        rows: the height of a band where Pillow can't lend the image's memory.
    """
    if not isinstance(image, Image.Image):
        yield 0, np.ascontiguousarray(image)
        return
    borrowed = _borrow_memory(image)
    if borrowed:
        yield 0, borrowed[0]
        return
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        borrowed = _borrow_memory(band)
        yield top, borrowed[0] if borrowed else np.asarray(band)


def _borrow_memory(image: Image.Image) -> tuple[NDArray[np.uint8], Any] | None:
    """Return the image's memory (H, W, 4) and the object that keeps it alive, or None if it can't be lent."""
    try:
        _, capsule = image.__arrow_c_array__()
    except ValueError:  # The image lies in several blocks of memory.
        return None
    array = _ArrowArray.from_address(_capsule_pointer(capsule, b"arrow_array"))
    pixels = array.children[0].contents
    # With PILLOW_ALIGNMENT there may be gaps between rows. The interface doesn't describe them.
    if array.length != image.width * image.height or (4 * image.width) % Image.core.get_alignment():
        return None
    memory = (ctypes.c_uint8 * pixels.length).from_address(pixels.buffers[1])
    return np.frombuffer(memory, np.uint8).reshape(image.height, image.width, 4), capsule
