"""Resizing gives the same bytes as Pillow, for every size, shape and source."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model.images.pixels import pixel_bands
from model.images.resize import LANES, resize_into, shrinks_columns_first, weights
from model.images.resize_kernels import BITS, SPARE


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return black and white noise, which is the hardest case for rounding and clipping."""
    values = np.random.default_rng(seed).integers(0, 2, (height, width, 3)) * 255
    return Image.fromarray(values.astype(np.uint8))


def resized(image: Image.Image | NDArray[np.uint8], rows: int, columns: int, side: int) -> NDArray[np.uint8]:
    """Return the image resized through a grid of tiles, as (height, width, 3)."""
    grid = np.zeros((rows, columns, side, side, 3), np.uint8)
    resize_into(image, [grid])
    return grid.swapaxes(1, 2).reshape(rows * side, columns * side, 3)


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    side=st.integers(1, 70),
    seed=st.integers(0, 9),
)
def test_bytes_are_pillows(width: int, height: int, rows: int, columns: int, side: int, seed: int) -> None:
    image = noise(width, height, seed)
    expected = np.asarray(image.resize((columns * side, rows * side), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resized(image, rows, columns, side), expected)
    np.testing.assert_array_equal(resized(np.asarray(image), rows, columns, side), expected)


@pytest.mark.parametrize(
    "size",
    [(1, 5000), (5000, 1), (3000, 700), (700, 3000), (LANES, LANES), (LANES + 1, LANES - 1), (2100, 1080)],
)
def test_bytes_are_pillows_at_the_edges(size: tuple[int, int]) -> None:
    image = noise(*size)
    for rows, columns, side in ((1, 1, 448), (3, 2, 64), (1, 12, 28), (12, 1, 28)):
        expected = np.asarray(image.resize((columns * side, rows * side), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(resized(image, rows, columns, side), expected)


def test_both_orders_of_the_passes_occur() -> None:
    """Portrait photos shrink so much in height that Pillow resizes the columns first for their thumbnail."""
    assert shrinks_columns_first(1080, 1920, 448, 448)
    assert not shrinks_columns_first(1920, 1080, 448, 448)
    assert not shrinks_columns_first(1080, 1920, 896, 1792)


def test_grids_of_both_orders_in_one_call() -> None:
    image = noise(108, 192)
    grids = [np.zeros((4, 2, 40, 40, 3), np.uint8), np.zeros((1, 1, 40, 40, 3), np.uint8)]
    resize_into(image, grids)
    for grid in grids:
        rows, columns = grid.shape[:2]
        expected = np.asarray(image.resize((columns * 40, rows * 40), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(grid.swapaxes(1, 2).reshape(expected.shape), expected)


@given(size_in=st.integers(1, 3000), size_out=st.integers(1, 3000))
def test_weights(size_in: int, size_out: int) -> None:
    """They stay within the image, sum to 1 except for rounding, and never overflow 32 bits."""
    result = weights(size_in, size_out)
    assert (result.count_N >= 1).all()
    assert int((result.first_N + result.count_N).max()) <= size_in
    assert not result.factors_NK[:, -SPARE:].any()
    totals = result.factors_NK.sum(axis=1, dtype=np.int64)
    assert np.abs(totals - (1 << BITS)).max() <= result.factors_NK.shape[1]
    assert np.abs(result.factors_NK.astype(np.int64)).sum(axis=1).max() * 255 + (1 << BITS - 1) < 2**31


def test_threads_don_t_disturb_each_other() -> None:
    images = [noise(200 + index, 150, index) for index in range(16)]
    alone = [resized(image, 2, 3, 50) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: resized(image, 2, 3, 50), images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_images_come_in_bands() -> None:
    image = noise(3000, 2000)
    bands = [(top, band.copy()) for top, band in pixel_bands(image, 900)]
    assert [(top, len(band)) for top, band in bands] == [(0, 900), (900, 900), (1800, 200)]
    pixels = np.concatenate([band for _, band in bands])
    np.testing.assert_array_equal(pixels[..., :3], np.asarray(image))


def test_memory_of_a_small_image_is_borrowed() -> None:
    image = Image.new("RGB", (50, 40), (1, 2, 3))
    ((_, band),) = pixel_bands(image, 10)
    assert band.shape == (40, 50, 4)
    image.paste((7, 8, 9), (10, 20, 11, 21))
    assert band[20, 10, :3].tolist() == [7, 8, 9]


def test_sliced_arrays_are_accepted() -> None:
    pixels = np.asarray(noise(90, 60))[::-1, ::2]
    expected = np.asarray(
        Image.fromarray(np.ascontiguousarray(pixels)).resize((40, 40), Image.Resampling.BICUBIC)
    )
    np.testing.assert_array_equal(resized(pixels, 1, 1, 40), expected)


@pytest.mark.parametrize(
    "environment",
    [
        {"PILLOW_ALIGNMENT": "64"},  # There are gaps between the rows of Pillow's memory.
        {"PILLOW_BLOCK_SIZE": "4096"},  # The image lies in many blocks, so Pillow can't lend its memory.
        {"NUMBA_DISABLE_JIT": "1"},  # Python runs the loops.
    ],
    ids=lambda environment: "".join(environment),
)
def test_bytes_are_pillows_in_another_environment(environment: dict[str, str]) -> None:
    code = (
        "from tests.model.images.test_resize import *\n"
        "image = noise(33, 70)\n"
        "for rows, columns, side in ((1, 1, 9), (2, 3, 11)):\n"
        "    expected = np.asarray(image.resize((columns * side, rows * side), Image.Resampling.BICUBIC))\n"
        "    assert np.array_equal(resized(image, rows, columns, side), expected)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ | environment, check=True)


def test_without_a_folder_for_compiled_code_it_works_and_warns() -> None:
    """numba raises an error if it finds no folder for its cache; the loops must be compiled nevertheless."""
    code = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from model.images.resize import resize_into\n"
        "import numpy as np\n"
        "grid = np.zeros((1, 1, 4, 4, 3), np.uint8)\n"
        "resize_into(np.full((3, 3, 3), 9, np.uint8), [grid])\n"
        "assert (grid == 9).all()\n"
    )
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    assert run.stderr.count("NUMBA_CACHE_DIR") == 1
