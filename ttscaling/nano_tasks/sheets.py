"""Sheets of handwritten digits in three rows of three, in two sizes.

A small sheet has 84 x 84 pixels, which is one tile of the nano model. A large one has 168 x 168 pixels.
Dynamic tiling makes four tiles and a thumbnail of it, and only the thumbnail shows the digits uncut.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .digits import DigitPool, draw_digit

SIDE = 3  # the number of rows and of columns
SMALL_CELL = 28  # side of a digit's cell in pixels: one visual token of a patch-14 ViT after pixel-unshuffle
LARGE_CELL = 56


@dataclass(frozen=True)
class Sheet:
    """The digits of a sheet, row by row."""

    rows: tuple[tuple[int, ...], ...]

    def row(self, number: int) -> tuple[int, ...]:
        """Return row `number`, counted from 1."""
        return self.rows[number - 1]

    def column(self, number: int) -> tuple[int, ...]:
        """Return column `number`, counted from 1."""
        return tuple(row[number - 1] for row in self.rows)


def random_sheet(rng: np.random.Generator) -> Sheet:
    """Return a sheet whose digits are independent and uniform."""
    return Sheet(tuple(tuple(int(d) for d in row) for row in rng.integers(0, 10, (SIDE, SIDE))))


def draw_sheet(sheet: Sheet, pool: DigitPool, rng: np.random.Generator, *, large: bool) -> Image.Image:
    """Return an RGB picture of the sheet: dark ink on light paper, with random contrast and noise."""
    cell = LARGE_CELL if large else SMALL_CELL
    ink = np.vstack(
        [np.hstack([draw_digit(digit, pool, rng, cell=cell) for digit in row]) for row in sheet.rows]
    )
    paper = rng.uniform(215, 250)
    strength = rng.uniform(0.65, 0.95)
    noise = rng.normal(0, rng.uniform(2, 8), ink.shape)
    grey = np.clip(paper - ink * (strength * paper / 255) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
