"""The published tiling, written a second time, and its golden file.

Source: OpenGVLab/InternVL, `internvl_chat/internvl/train/dataset.py`, `dynamic_preprocess` and
`find_closest_aspect_ratio`, with `Image.resize` of the installed Pillow. Nothing of model/ is imported.

`python -m tests.model.published_tiling` writes golden/tiling.json.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

GOLDEN = Path(__file__).parent / "golden" / "tiling.json"

Setting = tuple[int, int, int, bool]  # The side of a tile, the fewest and most tiles, and the thumbnail.

PHOTOS = [
    (640, 480),
    (800, 600),
    (1024, 768),
    (1280, 720),
    (1920, 1080),
    (1000, 1000),
    (1170, 827),
    (1242, 2208),
]
SMALL = [(448, 448), (449, 448), (447, 448), (32, 32), (100, 75), (75, 100), (333, 61), (37, 411), (224, 896)]
THIN = [
    (1, 1),
    (1, 2),
    (2, 1),
    (1, 700),
    (700, 1),
    (3, 2000),
    (2000, 3),
    (1, 3000),
    (3000, 1),
    (5, 700),
    (9, 901),
]
# These lie halfway between two ratios, or as close to one as to its inverse, so the order and the area
# decide.
TIES = [
    (17, 8),
    (34, 16),
    (6800, 32),
    (850, 400),
    (5, 4),
    (500, 400),
    (3, 2),
    (3000, 2000),
    (900, 900),
    (600, 600),
]
TIES += [(634, 634), (633, 633), (1268, 634), (776, 776), (777, 777), (1344, 1344), (1901, 1901)]
# These shrink much more in height than in width, so Pillow resizes the columns first.
TALL = [(333, 1999), (448, 1600), (500, 1300), (60, 900), (301, 1200)]

PUBLISHED: Setting = (448, 1, 12, True)
SETTINGS: list[Setting] = [
    (28, 1, 12, True),
    (28, 1, 6, False),
    (56, 1, 1, True),
    (28, 2, 2, True),
    (14, 4, 4, False),
    (14, 7, 7, True),
    (14, 1, 24, True),
    (14, 5, 40, True),
    (31, 1, 40, False),
]
# The golden file holds all pixels of these tiny tiles, so that a difference can be seen.
OPEN: list[tuple[tuple[int, int], Setting]] = [
    ((9, 5), (2, 1, 4, True)),
    ((5, 9), (3, 1, 2, False)),
    ((40, 7), (2, 1, 12, True)),
    ((3, 50), (4, 1, 1, True)),
]


def published_grid(width: int, height: int, setting: Setting) -> tuple[int, int]:
    """Return (columns, rows) with the least distance of ratios; among equals the last that the area fills."""
    side, fewest, most, _ = setting
    shapes = {
        (columns, rows)
        for number in range(fewest, most + 1)
        for columns in range(1, number + 1)
        for rows in range(1, number + 1)
        if fewest <= columns * rows <= most
    }
    winner, least = (1, 1), float("inf")
    for shape in sorted(shapes, key=lambda s: s[0] * s[1]):
        away = abs(width / height - shape[0] / shape[1])
        half_filled = width * height > 0.5 * side * side * shape[0] * shape[1]
        if away < least or (away == least and half_filled):
            winner, least = shape, away
    return winner


def published_tiles(image: Image.Image, setting: Setting) -> list[Image.Image]:
    """Return the tiles of the resized image, row by row, and the thumbnail unless there is only one tile."""
    side, _, _, thumbnail = setting
    columns, rows = published_grid(image.width, image.height, setting)
    large = image.resize((side * columns, side * rows))
    corners = [(side * column, side * row) for row in range(rows) for column in range(columns)]
    tiles = [large.crop((x, y, x + side, y + side)) for x, y in corners]
    if thumbnail and len(tiles) != 1:
        tiles.append(image.resize((side, side)))
    return tiles


def pattern(width: int, height: int) -> Image.Image:
    """Return an image with all values and sharp edges in every direction, computed with integers only."""
    x = np.arange(width, dtype=np.int64)[None, :, None]
    y = np.arange(height, dtype=np.int64)[:, None, None]
    channel = np.arange(3, dtype=np.int64)
    values = (x * (3 + channel)) ^ (y * (5 + 2 * channel)) ^ (x * y // (7 + channel))
    return Image.fromarray((values % 256).astype(np.uint8))


def fingerprint(tile: np.ndarray) -> str:
    """Return a short digest of a tile, uint8 (side, side, 3), in C order."""
    return hashlib.sha256(tile.tobytes()).hexdigest()[:16]


def case(size: tuple[int, int], setting: Setting, *, in_full: bool) -> dict:
    """Return one line of the golden file."""
    tiles = [np.asarray(tile) for tile in published_tiles(pattern(*size), setting)]
    contents = [tile.tolist() for tile in tiles] if in_full else [fingerprint(tile) for tile in tiles]
    grid = published_grid(size[0], size[1], setting)
    return {"size": size, "setting": setting, "grid": grid, "pixels" if in_full else "sha256": contents}


def main() -> None:
    sizes = [*SMALL, *THIN, *TIES, *TALL]
    cases = [case(size, PUBLISHED, in_full=False) for size in [*PHOTOS, *sizes] if min(size) < 1900]
    cases += [
        case(size, setting, in_full=False)
        for setting in SETTINGS
        for size in sizes
        if max(size) < 1300 or min(size) < 10
    ]
    cases += [case(size, setting, in_full=True) for size, setting in OPEN]
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in cases)
    GOLDEN.write_text(f'{{"pillow":"{PIL.__version__}","cases":[\n{lines}\n]}}\n')
    print(f"{GOLDEN}: {len(cases)} cases")


if __name__ == "__main__":
    main()
