"""Videos of handwritten digits that are shown for a few seconds each, at known times.

Between the digits there is paper whose light changes slowly, and a grey ball that always moves over it. A
digit is in one of the nine cells of nano's sheets, so nano's vision tower can read it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin

import numpy as np
from PIL import Image

from .digits import DigitPool, draw_digit
from .sheets import SIDE, SMALL_CELL

TILE = SIDE * SMALL_CELL  # pixels of a side
SHORTEST, LONGEST = 2, 5  # seconds of an event
LEAST_GAP = 2  # seconds between two events
BALL = 0.09  # the radius of the ball, as a share of the picture


@dataclass(frozen=True)
class DigitEvent:
    """A digit that is shown from `start` to `end` (seconds) in a cell, counted by rows from 0."""

    start: float
    end: float
    digit: int
    cell: int


@dataclass(frozen=True)
class DigitVideo:
    """What is to be seen at each moment: events, their ink (uint8, from `draw_digit`), light and ball."""

    seconds: float
    events: tuple[DigitEvent, ...]
    inks: tuple[np.ndarray, ...]
    light: tuple[float, float, float]
    phases: tuple[float, float]


def random_events(
    rng: np.random.Generator, seconds: int, count: int, edges: Sequence[float] = ()
) -> tuple[DigitEvent, ...]:
    """Return about `count` events at random times that don't overlap, some of them across `edges` (seconds).

    A fifth of the events begin a second before one of the edges, as far as there are any.
    """
    starts = list(rng.uniform(0, seconds - LONGEST, 4 * count))
    if len(edges):
        starts = [float(edge) - 1.0 for edge in rng.permutation(edges)[: count // 5]] + starts
    events: list[DigitEvent] = []
    for start in starts:
        length = float(rng.uniform(SHORTEST, LONGEST))
        begin, end = round(float(start), 2), round(min(float(start) + length, seconds), 2)
        apart = all(end + LEAST_GAP < other.start or other.end + LEAST_GAP < begin for other in events)
        if begin >= 0 and apart and len(events) < count:
            events.append(DigitEvent(begin, end, int(rng.integers(10)), int(rng.integers(SIDE**2))))
    return tuple(sorted(events, key=lambda event: event.start))


def digit_video(
    rng: np.random.Generator, pool: DigitPool, seconds: float, events: Sequence[DigitEvent]
) -> DigitVideo:
    """Return a video with these events, drawn with digits of a pool."""
    return DigitVideo(
        seconds=seconds,
        events=tuple(events),
        inks=tuple(draw_digit(event.digit, pool, rng, cell=SMALL_CELL) for event in events),
        light=(float(rng.uniform(180, 225)), float(rng.uniform(-20, 20)), float(rng.uniform(-20, 20))),
        phases=(float(rng.uniform(0, 100)), float(rng.uniform(0, 100))),
    )


def picture_at(video: DigitVideo, seconds: float, *, with_events: bool = True) -> Image.Image:
    """Return the RGB picture (TILE x TILE) of a moment; without events it is the event-free twin's."""
    y, x = np.mgrid[0:TILE, 0:TILE] / TILE
    base, along, down = video.light
    swing = sin(seconds / 40 + video.phases[0])
    grey = base + along * swing * x + down * (1 - swing) * y
    ball_x = 0.5 + 0.4 * sin(seconds / 7 + video.phases[0])
    ball_y = 0.5 + 0.4 * cos(seconds / 11 + video.phases[1])
    grey = np.where((x - ball_x) ** 2 + (y - ball_y) ** 2 < BALL**2, grey * 0.55, grey)
    number = bisect_right([event.start for event in video.events], seconds) - 1
    if with_events and number >= 0 and seconds < video.events[number].end:
        row, column = divmod(video.events[number].cell, SIDE)
        part = np.s_[
            row * SMALL_CELL : (row + 1) * SMALL_CELL, column * SMALL_CELL : (column + 1) * SMALL_CELL
        ]
        grey[part] *= 1 - video.inks[number] * (0.8 / 255)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
