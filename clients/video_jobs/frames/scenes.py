"""Find the changes of shots in the looks of a video's frames."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from .look import Look, difference

LEAST = 0.3  # the difference of two looks below which there is no cut
RISE = 3.0  # by what factor a cut differs more than is usual around it
AROUND = 5  # steps before and after, by which it is judged what is usual


def shot_changes(times: Sequence[float], looks: Sequence[Look]) -> tuple[float, ...]:
    """Return the times (seconds) of the frames with which a new shot begins.

    A cut lies between two taken frames, so it is known as exactly as these lie close together. A fade that
    takes longer than that is not found.
    """
    steps = [difference(left, right) for left, right in pairwise(looks)]
    cuts = []
    for number, step in enumerate(steps):
        around = [*steps[max(0, number - AROUND) : number], *steps[number + 1 : number + 1 + AROUND]]
        if step >= LEAST and step >= RISE * (median(around) if around else 0.0):
            cuts.append(times[number + 1])
    return tuple(cuts)
