"""The look of a frame: a histogram of its colours, by which shots and equal frames are recognised."""

from collections.abc import Sequence

from PIL import Image

SIDE = 64  # pixels, to which a frame is reduced first
BINS = 16  # for each of the three colours
Look = tuple[int, ...]
"""3 * BINS counts, which add up to 3 * SIDE * SIDE."""


def look_of(image: Image.Image) -> Look:
    """Return the look of an RGB image."""
    counts = image.resize((SIDE, SIDE), Image.Resampling.BOX).histogram()
    width = 256 // BINS
    return tuple(sum(counts[start : start + width]) for start in range(0, 3 * 256, width))


def difference(left: Sequence[int], right: Sequence[int]) -> float:
    """Return how different two looks are: 0 if they are equal, 1 if they share no colour."""
    return sum(abs(a - b) for a, b in zip(left, right, strict=True)) / (2 * 3 * SIDE * SIDE)
