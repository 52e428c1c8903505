"""Changes of shots are found where the picture changes, and not where it only moves or flickers."""

import math

import numpy as np
from PIL import Image

from clients.video_jobs.frames.look import BINS, SIDE, difference, look_of
from clients.video_jobs.frames.scenes import shot_changes


def look(shade: float, angle: float = 0.0):
    """The look of a picture with a gradient that turns."""
    y, x = np.mgrid[0:90, 0:160] / 160
    grey = np.clip(shade + 60 * (x * math.cos(angle) + y * math.sin(angle)), 0, 255).astype(np.uint8)
    return look_of(Image.fromarray(grey).convert("RGB"))


def test_finds_cuts():
    looks = [look(20)] * 10 + [look(150)] * 7 + [look(20)] * 3
    assert shot_changes([n / 2 for n in range(20)], looks) == (5.0, 8.5)


def test_movement_and_flicker_are_no_cuts():
    moving = [look(100, angle=number / 3) for number in range(40)]
    flicker = [look(20 if number % 2 else 150) for number in range(40)]
    assert shot_changes(range(40), moving) == ()
    assert shot_changes(range(40), flicker) == ()


def test_a_black_hour_has_no_cuts():
    assert shot_changes(range(3600), [look_of(Image.new("RGB", (64, 64)))] * 3600) == ()
    assert shot_changes([], []) == ()


def test_a_look_counts_all_pixels():
    black, white = (look_of(Image.new("RGB", (300, 200), colour)) for colour in ("black", "white"))
    assert sum(black) == 3 * SIDE * SIDE
    assert len(black) == 3 * BINS
    assert (difference(black, black), difference(black, white)) == (0, 1)
