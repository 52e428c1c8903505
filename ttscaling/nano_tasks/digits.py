"""Real handwritten digits, from scikit-learn's `load_digits`.

These are UCI's Optical Recognition of Handwritten Digits (BSD-3): 1,797 drawings of 8 x 8 pixels. A fixed
split keeps 397 of them for evaluation; training never uses those.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

Split = Literal["train", "heldout"]
SPLIT_SEED = 20261123
NUM_TRAIN = 1400  # of 1,797; the other 397 are held out


@dataclass(frozen=True)
class DigitPool:
    """The drawings of one split.

    `ink_N88` is uint8, from 0 for paper to 255 for full ink. `by_value[d]` are the indices of the drawings of
    digit d.
    """

    ink_N88: np.ndarray
    by_value: tuple[np.ndarray, ...]


@cache
def digit_pool(split: Split) -> DigitPool:
    """Return the drawings of one split. They are the same on every machine."""
    data = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data.target))
    chosen = order[:NUM_TRAIN] if split == "train" else order[NUM_TRAIN:]
    ink = np.round(data.images[chosen] * (255 / 16)).astype(np.uint8)
    labels = data.target[chosen]
    return DigitPool(ink, tuple(np.flatnonzero(labels == value) for value in range(10)))


def draw_digit(value: int, pool: DigitPool, rng: np.random.Generator, *, cell: int) -> np.ndarray:
    """Return a random drawing of `value` as ink, uint8 (cell, cell), slightly turned, scaled and shifted."""
    drawing = Image.fromarray(pool.ink_N88[rng.choice(pool.by_value[value])])
    angle = rng.uniform(-0.17, 0.17)  # radians, about 10 degrees
    scale = 8 / (cell * rng.uniform(0.78, 0.95))  # source pixels per cell pixel
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    shift_x, shift_y = rng.uniform(-cell / 14, cell / 14, size=2)
    centre_x, centre_y = cell / 2 + shift_x, cell / 2 + shift_y
    coefficients = (
        cos,
        -sin,
        4 - cos * centre_x + sin * centre_y,
        sin,
        cos,
        4 - sin * centre_x - cos * centre_y,
    )
    picture = drawing.transform((cell, cell), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(picture)
