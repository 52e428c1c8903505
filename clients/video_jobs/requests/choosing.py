"""Which of a video's taken frames go into a request. All functions return indices of frames, ascending."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

TOLERANCE = 0.001  # seconds


def frames_between(times: Sequence[float], start: float, end: float) -> range:
    """Return the frames that begin from `start` to before `end`, or else the one that is shown at `start`."""
    first, after = bisect_left(times, start - TOLERANCE), bisect_left(times, end - TOLERANCE)
    return range(first, after) if first < after else range(shown_at(times, start), shown_at(times, start) + 1)


def shown_at(times: Sequence[float], seconds: float) -> int:
    """Return the frame that is shown at a time, or the first one for a time before it."""
    return max(bisect_right(times, seconds + TOLERANCE) - 1, 0)


def uniform(
    times: Sequence[float], count: int, start: float, end: float, *, phase: float = 0.5
) -> tuple[int, ...]:
    """Return the frames that are shown at `phase` (0 to 1) of `count` equal parts of a time span, each once.

    If no more frames begin in the span, these are all of them.
    """
    inside = frames_between(times, start, end)
    if len(inside) <= count:
        return tuple(inside)
    step = (end - start) / count
    shown = (shown_at(times, start + (part + phase) * step) for part in range(count))
    return tuple(sorted({min(max(number, inside[0]), inside[-1]) for number in shown}))


def thinned(numbers: Sequence[int], count: int) -> tuple[int, ...]:
    """Return `count` of the numbers at even distances, or all of them if they are no more."""
    if len(numbers) <= count:
        return tuple(numbers)
    return tuple(numbers[(2 * part + 1) * len(numbers) // (2 * count)] for part in range(count))


def filled(preferred: Iterable[int], anchors: Sequence[int], count: int) -> tuple[int, ...]:
    """Return all anchors and, in their order, as many of the preferred frames as `count` leaves room for."""
    chosen = set(anchors)
    for number in preferred:
        if len(chosen) >= count:
            break
        chosen.add(number)
    return tuple(sorted(chosen))
