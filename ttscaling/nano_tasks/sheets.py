"""Sheets of handwritten digits, three rows of three, in two sizes.

A small sheet is 84 x 84 pixels, one tile of the nano model. A large one is 168 x 168: dynamic tiling makes
four tiles of it and a thumbnail, which alone shows the digits whole.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .digits import DigitPool, draw_digit

SIDE = 3  # rows, and columns
SMALL_CELL = 28  # pixels of a digit's square cell: one visual token of a patch-14 ViT after pixel-unshuffle
LARGE_CELL = 56


@dataclass(frozen=True)
class Sheet:
    """The digits of a sheet, row by row."""

    rows: tuple[tuple[int, ...], ...]

    def row(self, number: int) -> tuple[int, ...]:
        """Row `number`, counted from 1."""
        return self.rows[number - 1]

    def column(self, number: int) -> tuple[int, ...]:
        """Column `number`, counted from 1."""
        return tuple(row[number - 1] for row in self.rows)


def random_sheet(rng: np.random.Generator) -> Sheet:
    """Every digit independent and uniform."""
    return Sheet(tuple(tuple(int(d) for d in row) for row in rng.integers(0, 10, (SIDE, SIDE))))


def draw_sheet(sheet: Sheet, pool: DigitPool, rng: np.random.Generator, *, large: bool) -> Image.Image:
    """An RGB picture of the sheet: dark ink on light paper, uneven contrast, some noise."""
    cell = LARGE_CELL if large else SMALL_CELL
    ink = np.vstack(
        [np.hstack([draw_digit(digit, pool, rng, cell=cell) for digit in row]) for row in sheet.rows]
    )
    paper = rng.uniform(215, 250)
    strength = rng.uniform(0.65, 0.95)
    noise = rng.normal(0, rng.uniform(2, 8), ink.shape)
    grey = np.clip(paper - ink * (strength * paper / 255) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
