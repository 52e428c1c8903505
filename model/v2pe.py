"""V2PE, variable visual position encoding: which position each token gets, and how positions travel in vLLM.

A text token steps by 1, a visual token by delta (InternVL3, arXiv 2504.10479, eq. 2-4; OpenGVLab/V2PE
`get_rope_pos_id`). Delta 1 is the ordinary numbering; a smaller delta lets more pictures into the window that
the model was trained on.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

TRAINED_DELTAS = tuple(2.0**-k for k in range(9))
"""The deltas the models were trained with, largest first: 1, 1/2, ... 1/256."""

STEPS_PER_POSITION = 4096
"""Resolution of an encoded position. Every ladder delta is a whole number of steps, so encoded exactly."""

Deltas = float | Literal["auto"] | tuple[float, ...]
"""What a request may ask for: one delta for all images and videos, or one for each."""


def positions(visual_T: ArrayLike, delta_T: ArrayLike) -> NDArray[np.float64]:
    """Position (T,) of every token: p_0 = 0, then the previous position plus the token's own step.

    The step of a text token is 1 and that of a visual token its delta. After every maximal run of visual
    tokens the count goes on from the last position rounded up, which changes nothing where the run spans a
    whole number of positions.

    Args:
        visual_T: bool (T,), true where a token stands for a piece of an image.
        delta_T: delta of each token (T,), read at visual tokens only, or one number for all.

    Raises:
        ValueError: a visual token's delta is not in (0, 1].
    """
    visual = np.asarray(visual_T, dtype=bool)
    step = np.where(visual, np.broadcast_to(np.asarray(delta_T, dtype=np.float64), visual.shape), 1.0)
    if not np.all((step > 0) & (step <= 1)):
        raise ValueError("every visual token needs a delta above 0 and at most 1")
    position = np.empty(visual.shape, dtype=np.float64)
    last = -step[0] if len(step) else 0.0
    for start, stop in _runs(visual):
        position[start:stop] = np.cumsum(np.concatenate([[last], step[start:stop]]))[1:]
        last = _round_up(position[stop - 1])
    return position


def next_position(position_T: NDArray[np.float64]) -> int:
    """Position of the first token generated after a prompt with these positions; later ones step by 1."""
    return _round_up(position_T[-1]) + 1 if len(position_T) else 0


def encode(position_T: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions as the three integer rows (3, T) of vLLM's M-RoPE: (a, a + f, a), meaning a + f / 4096.

    vLLM gives a generated token one integer in all rows, which therefore means just that integer; and a shift
    of all rows by one number shifts the position by it.
    """
    steps = np.rint(position_T * STEPS_PER_POSITION).astype(np.int64)
    whole, fraction = np.divmod(steps, STEPS_PER_POSITION)
    return np.stack([whole, whole + fraction, whole])


def decode(rows_3T: Any) -> Any:
    """The inverse of `encode`, (T,). Takes numpy arrays and torch tensors alike, and keeps their type."""
    return rows_3T[0] + (rows_3T[1] - rows_3T[0]) / STEPS_PER_POSITION


def parse_delta(value: object) -> float | Literal["auto"]:
    """One delta: "auto", or any number from 1/4096 to 1. The trained values are `TRAINED_DELTAS`.

    Raises:
        ValueError: anything else; the message says what to send.
    """
    if value == "auto":
        return "auto"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 / STEPS_PER_POSITION <= value <= 1:  # type: ignore[operator]
        raise ValueError(
            f'v2pe_delta must be "auto" or a number above 0 and at most 1, not {value!r}: '
            "the model was trained with 1, 1/2, 1/4, ... 1/256 (1, 0.5, 0.25, ... 0.00390625)"
        )
    return float(value)  # type: ignore[arg-type]


def parse_deltas(value: object) -> Deltas:
    """A request's `v2pe_delta`: one for all as `parse_delta` takes it, or a list with one number for each.

    Raises:
        ValueError: anything else; the message says what to send.
    """
    if not isinstance(value, list | tuple):
        return parse_delta(value)
    if "auto" in value:
        raise ValueError(
            'v2pe_delta "auto" chooses one delta for the whole prompt: send it alone, not in a list'
        )
    return tuple(float(parse_delta(delta)) for delta in value)


def choose_deltas(asked: Deltas, medium_T: ArrayLike, *, max_tokens: int, window: int) -> tuple[float, ...]:
    """The deltas to run a prompt with, checked against the window of positions that the model was trained on.

    "auto" takes the largest delta of the ladder with which prompt and answer fit, for all images and videos.

    Args:
        asked: what `parse_deltas` returned.
        medium_T: int (T,) over the prompt's tokens: the number of the image or video that a visual token
            belongs to, counted from 0 in the order of the prompt; -1 for text.
        max_tokens: positions kept free for the answer.
        window: how many positions the model was trained on.

    Returns:
        A delta for each image or video, in the order of the prompt.

    Raises:
        ValueError: a list of another length, or prompt and answer don't fit; the message names the largest
            delta that would do.
    """
    medium_of = np.asarray(medium_T, dtype=np.int64)
    media = int(medium_of.max(initial=-1)) + 1
    if isinstance(asked, tuple) and len(asked) != media:
        raise ValueError(
            f"v2pe_delta has {len(asked)} numbers for {media} images and videos: "
            "send one for each, in the order of the prompt, or one number for all"
        )
    if asked != "auto":
        deltas = asked if isinstance(asked, tuple) else (asked,) * media
        if positions_needed(medium_of, deltas) + max_tokens <= window:
            return deltas
    fitting = next(
        (d for d in TRAINED_DELTAS if positions_needed(medium_of, (d,) * media) + max_tokens <= window), None
    )
    if asked == "auto":
        if fitting is not None:
            return (fitting,) * media
        deltas = (TRAINED_DELTAS[-1],) * media
    named = ", ".join(f"{delta:g}" for delta in dict.fromkeys(deltas))
    needed = positions_needed(medium_of, deltas)
    problem = (
        f"the prompt takes {needed} positions at v2pe_delta {named} and the answer up to {max_tokens}; "
        f"the model's window is {window}"
    )
    if fitting is None:
        raise ValueError(f"{problem}. No v2pe_delta makes it fit: send less, or lower max_tokens")
    raise ValueError(f"{problem}. The largest v2pe_delta that fits is {Fraction(fitting)} ({fitting:g})")


def positions_needed(medium_T: NDArray[np.int64], deltas: tuple[float, ...]) -> int:
    delta_T = np.array([*deltas, 1.0])[medium_T]  # text, -1, takes the last
    return next_position(positions(medium_T >= 0, delta_T))


def _round_up(position: float) -> int:
    # A delta such as 0.1 adds up to 0.9999.. or 1.0000..1; both mean 1.
    return math.ceil(round(position, 9))


def _runs(visual_T: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """(start, stop) of every maximal stretch of equal values, in order."""
    borders = np.flatnonzero(np.diff(visual_T)) + 1
    edges = [0, *borders.tolist(), len(visual_T)]
    for start, stop in pairwise(edges):
        if stop > start:
            yield start, stop
