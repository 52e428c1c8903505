"""Grids and pixels are those of the published preprocessing and of transformers' image processor."""

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from model.images.tiling import TilingConfig, choose_grid, max_num_tiles, num_tiles, tile_image
from tests.model.published_tiling import GOLDEN, fingerprint, pattern
from tests.model.reference import published_grid, published_tiles

DEFAULT = TilingConfig(tile_size=448, min_tiles=1, max_tiles=12, use_thumbnail=True)
SMALL = TilingConfig(tile_size=28, min_tiles=1, max_tiles=12, use_thumbnail=True)


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, channels))
    return Image.fromarray(pixels.astype(np.uint8))


GOLDEN_CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cases"]


def test_golden_table_is_large_and_varied() -> None:
    """There are at least 200 different (size, setting), some with sides of one pixel or with many tiles."""
    distinct = {(*case["size"], *case["setting"]) for case in GOLDEN_CASES}
    assert len(distinct) >= 200
    assert {1} <= {min(case["size"]) for case in GOLDEN_CASES}
    assert {1, 12, 24, 40} <= {case["setting"][2] for case in GOLDEN_CASES}
    assert {True, False} == {case["setting"][3] for case in GOLDEN_CASES}


def test_golden_grids() -> None:
    for case in GOLDEN_CASES:
        config = TilingConfig(*case["setting"])
        width, height = case["size"]
        assert list(choose_grid(width, height, config)) == case["grid"], case


def test_golden_pixels() -> None:
    """The bytes are equal, so the difference is less than 1/255."""
    images: dict[tuple[int, int], Image.Image] = {}
    for case in GOLDEN_CASES:
        size = (case["size"][0], case["size"][1])
        if size not in images:
            images[size] = pattern(*size)
        tiles = tile_image(images[size], TilingConfig(*case["setting"]))
        if "pixels" in case:
            np.testing.assert_array_equal(tiles, np.asarray(case["pixels"], np.uint8))
        else:
            assert [fingerprint(tile) for tile in tiles] == case["sha256"], case


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((448, 448), (1, 1)),
        ((800, 600), (4, 3)),
        ((600, 800), (3, 4)),
        ((1920, 1080), (4, 2)),
        ((10, 1000), (1, 12)),
        ((20000, 1), (12, 1)),
        # Squares have one ratio, so the area decides how many tiles there are.
        ((600, 600), (1, 1)),
        ((900, 900), (2, 2)),
        ((2000, 2000), (3, 3)),
    ],
)
def test_known_grids(size: tuple[int, int], grid: tuple[int, int]):
    assert choose_grid(*size, DEFAULT) == grid


@given(
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    least=st.integers(1, 4),
    extra=st.integers(0, 12),
)
def test_grid_is_the_published_one(width: int, height: int, least: int, extra: int):
    config = TilingConfig(448, least, least + extra, use_thumbnail=True)
    columns, rows = choose_grid(width, height, config)
    assert (columns, rows) == published_grid(width, height, 448, least, least + extra)
    assert least <= columns * rows <= least + extra


@pytest.mark.parametrize(("unit", "expected"), [(1, 2), (400, 4)])
def test_exact_ties_go_as_published(unit: int, expected: int):
    """17:8 lies halfway between 4:1 and 1:4; Python's set order and the area decide such a tie."""
    width, height = 17 * unit, 8 * unit
    config = TilingConfig(448, expected, expected, use_thumbnail=True)
    assert choose_grid(width, height, config) == published_grid(width, height, 448, expected, expected)


@pytest.mark.parametrize("size", [(50, 50), (200, 90), (90, 200), (333, 61), (37, 411), (1, 1)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_pixels_are_the_published_ones(size: tuple[int, int], mode: str):
    image = noise(*size, channels=4).convert(mode)
    expected = np.stack([np.asarray(tile) for tile in published_tiles(image, 28, 1, 12)])
    tiles = tile_image(image, SMALL)
    assert tiles.dtype == np.uint8
    np.testing.assert_array_equal(tiles, expected)


@pytest.mark.parametrize("size", [(50, 50), (200, 90), (333, 61), (37, 411)])
def test_pixels_are_those_of_transformers(size: tuple[int, int]):
    processor = GotOcr2ImageProcessorPil(
        size={"height": 28, "width": 28}, crop_to_patches=True, do_normalize=False, do_rescale=False
    )
    expected_NCHW = processor(noise(*size), return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(tile_image(noise(*size), SMALL).transpose(0, 3, 1, 2), expected_NCHW)


@given(
    width=st.integers(1, 600), height=st.integers(1, 600), most=st.integers(1, 12), thumbnail=st.booleans()
)
def test_number_of_tiles_is_known_before_tiling(width: int, height: int, most: int, thumbnail: bool):
    config = TilingConfig(14, 1, most, thumbnail)
    tiles = tile_image(Image.new("RGB", (width, height)), config)
    assert tiles.shape == (num_tiles(width, height, config), 14, 14, 3)
    assert len(tiles) <= max_num_tiles(config)


def test_tiles_run_row_by_row_and_the_thumbnail_is_last():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (9, 9, 9), (99, 0, 99)]
    image = Image.new("RGB", (300, 200))
    for index, colour in enumerate(colours):
        image.paste(
            colour, (index % 3 * 100, index // 3 * 100, index % 3 * 100 + 100, index // 3 * 100 + 100)
        )
    tiles = tile_image(image, TilingConfig(100, 6, 6, use_thumbnail=True))
    assert [tuple(tile[50, 50].tolist()) for tile in tiles[:-1]] == colours
    assert tuple(tiles[-1][25, 16].tolist()) == colours[0]  # The pixel is in the thumbnail's upper left.


def saved(image: Image.Image, format_: str, **options: Any) -> Image.Image:
    """Return the image after it was saved to a file and opened again."""
    file = BytesIO()
    image.save(file, format_, **options)
    return Image.open(BytesIO(file.getvalue()))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_dropped_not_blended(mode: str):
    transparent = Image.new("RGBA", (30, 30), (200, 200, 200, 0)).convert(mode)
    assert (tile_image(transparent, SMALL) == 200).all()


def test_transparent_colour_of_a_palette_shows():
    image = Image.new("P", (30, 30), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert (tile_image(saved(image, "PNG", transparency=1), SMALL) == (10, 20, 30)).all()


def test_16_bits_are_clipped_not_scaled():
    """The published code calls PIL's convert("RGB"), which clips."""
    values = np.repeat(np.array([[0, 100, 255, 256, 65535]], np.uint16), 5, axis=0)
    image = saved(Image.fromarray(values), "PNG")
    assert image.mode == "I;16"
    config = TilingConfig(5, 1, 1, use_thumbnail=False)
    assert tile_image(image, config)[0, 0, :, 0].tolist() == [0, 100, 255, 255, 255]


def test_cmyk_and_grey_photos_are_as_pil_converts_them():
    for image in (saved(noise(60, 40).convert(mode), "JPEG") for mode in ("CMYK", "L")):
        assert image.mode in ("CMYK", "L")
        np.testing.assert_array_equal(tile_image(image, SMALL), tile_image(image.convert("RGB"), SMALL))


def test_orientation_of_a_photo_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # This value means a quarter turn.
    image = saved(noise(80, 40), "PNG", exif=exif)
    np.testing.assert_array_equal(tile_image(image, SMALL), tile_image(noise(80, 40), SMALL))


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG"])
def test_an_animation_shows_its_first_frame(format_: str):
    first, second = Image.new("RGB", (40, 40), (255, 0, 0)), Image.new("RGB", (40, 40), (0, 0, 255))
    image = saved(first, format_, save_all=True, append_images=[second], **lossless(format_))
    assert (tile_image(image, SMALL) == (255, 0, 0)).all()


def lossless(format_: str) -> dict[str, Any]:
    return {"lossless": True} if format_ == "WEBP" else {}


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (2, 999)])
def test_lines_of_one_colour_stay_so(size: tuple[int, int]):
    tiles = tile_image(Image.new("RGB", size, (1, 2, 250)), SMALL)
    assert len(tiles) == 13
    assert (tiles == (1, 2, 250)).all()


def test_the_image_is_left_alone():
    image, pixels = noise(70, 30), np.asarray(noise(70, 30)).copy()
    pixels.flags.writeable = False
    tile_image(image, SMALL)
    tile_image(pixels, SMALL)
    np.testing.assert_array_equal(np.asarray(image), pixels)


def test_arrays_that_are_no_image_are_refused():
    for array in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\)"):
            tile_image(array, SMALL)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 5)])
def test_an_image_without_pixels_is_refused(size: tuple[int, int]):
    with pytest.raises(ValueError, match="at least 1 x 1 pixels"):
        choose_grid(*size, DEFAULT)


@pytest.mark.parametrize("limits", [(0, 1, 2), (28, 0, 2), (28, 3, 2)])
def test_impossible_limits_are_refused(limits: tuple[int, int, int]):
    with pytest.raises(ValueError):
        TilingConfig(*limits, use_thumbnail=True)
