"""Cut a time span into segments that overlap, cover all of it, and end at changes of the shot if wished."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SHORTEST, LONGEST = 2.0, 60.0  # seconds of a shot that is a segment of its own


@dataclass(frozen=True)
class Segment:
    """A part of a video, from `start` to `end` in seconds. It overlaps the segments before and after it."""

    number: int
    start: float
    end: float


def even_segments(start: float, end: float, seconds: float, overlap: float) -> tuple[Segment, ...]:
    """Return segments of one length, at most `seconds`, each of which overlaps the next one by `overlap`."""
    count = max(1, math.ceil((end - start - overlap) / (seconds - overlap) - 1e-9))
    step = (end - start - overlap) / count
    edges = [start + number * step for number in range(count)]
    return tuple(
        Segment(number, edge, end if number == count - 1 else edge + step + overlap)
        for number, edge in enumerate(edges)
    )


def shot_segments(
    start: float, end: float, cuts: Sequence[float], overlap: float, longest: float = LONGEST
) -> tuple[Segment, ...]:
    """Return segments that begin and end at cuts (seconds, ascending), without a gap.

    Shots shorter than SHORTEST are joined with the next one, the last one with that before it, and shots
    longer than `longest` are cut into even parts. Each segment begins `overlap` seconds before its shot, so
    that a cut in the wrong place loses nothing.
    """
    edges = [start]
    for cut in cuts:
        if cut - edges[-1] >= SHORTEST and end - cut >= SHORTEST:
            edges.append(cut)
    edges.append(end)
    spans: list[tuple[float, float]] = []
    for first, last in pairwise(edges):
        parts = max(1, math.ceil((last - first) / longest - 1e-9))
        inner = [first + (last - first) * part / parts for part in range(1, parts)]
        spans += pairwise([first, *inner, last])
    return tuple(
        Segment(number, max(start, first - overlap) if number else first, last)
        for number, (first, last) in enumerate(spans)
    )


def cuts_between(cuts: Sequence[float], start: float, end: float) -> Sequence[float]:
    """Return the cuts after `start` and before `end`."""
    return cuts[bisect_left(cuts, start) : bisect_left(cuts, end)]
