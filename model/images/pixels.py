"""The pixels of an image as arrays, without a copy where Pillow lends its memory.

Pillow keeps RGB as four bytes a pixel. `numpy.asarray` packs them into three in a new array, which can take
longer than resizing the image afterwards. Pillow lends the memory itself through the Arrow C data interface
(`Image.__arrow_c_array__`), of images that lie in one block of it: 16 MB unless PILLOW_BLOCK_SIZE says else.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class _ArrowArray(ctypes.Structure):
    """ArrowArray of the Arrow C data interface, a stable ABI."""


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
    """The image from top to bottom: first row and pixels (rows, W, 3 or 4) of every band, C-contiguous.

    `image` is a PIL image in mode RGB or uint8 (H, W, 3). A fourth byte means nothing. One band is the whole
    image if Pillow can lend it, else bands have so many rows. A band is valid until the next one is asked
    for, and must not be written to.
    """
    if not isinstance(image, Image.Image):
        yield 0, np.ascontiguousarray(image)
        return
    whole = _borrow_memory(image)
    if whole:
        yield 0, whole[0]
        return
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        lent = _borrow_memory(band)
        yield top, lent[0] if lent else np.asarray(band)


def _borrow_memory(image: Image.Image) -> tuple[NDArray[np.uint8], Any] | None:
    """The image's memory (H, W, 4), and what keeps it alive; None if Pillow can't lend it."""
    try:
        _, capsule = image.__arrow_c_array__()
    except ValueError:  # in several blocks
        return None
    array = _ArrowArray.from_address(_capsule_pointer(capsule, b"arrow_array"))
    pixels = array.children[0].contents
    if array.length != image.width * image.height or (4 * image.width) % Image.core.get_alignment():
        return None  # rows with gaps (PILLOW_ALIGNMENT), which the interface doesn't tell of
    memory = (ctypes.c_uint8 * pixels.length).from_address(pixels.buffers[1])
    return np.frombuffer(memory, np.uint8).reshape(image.height, image.width, 4), capsule
