"""The positions of V2PE, variable visual position encoding, and the form in which vLLM carries them.

A text token adds 1 to the position and a visual token adds delta (InternVL3, arXiv 2504.10479, eq. 2-4;
OpenGVLab/V2PE `get_rope_pos_id`). Delta 1 is the ordinary numbering. With a smaller delta more pictures fit
into the window that the model was trained on.
"""

from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

TRAINED_DELTAS = tuple(2.0**-k for k in range(9))
"""The deltas that the models were trained with, largest first: 1, 1/2, ... 1/256."""

STEPS_PER_POSITION = 4096
"""The resolution of an encoded position. Each trained delta is a whole number of steps, so it stays exact."""

Deltas = float | Literal["auto"] | tuple[float, ...]
"""The delta in a request: one for all images and videos, "auto", or one for each."""


def positions(visual_T: ArrayLike, delta_T: ArrayLike) -> NDArray[np.float64]:
    """Return the position of every token, (T,).

    The first position is 0. Each later one is the previous position plus the token's step, which is 1 for a
    text token and delta for a visual token. After every maximal run of visual tokens the last position is
    rounded up before the count goes on; this changes nothing where the run spans a whole number of positions.

    Args:
        visual_T: bool (T,), true where a token stands for a piece of an image.
        delta_T: the delta of each token (T,), read at visual tokens only, or one number for all.

    Raises:
        ValueError: a visual token's delta is not in (0, 1].
    """
    visual = np.asarray(visual_T, dtype=bool)
    step = np.where(visual, np.broadcast_to(np.asarray(delta_T, dtype=np.float64), visual.shape), 1.0)
    if not np.all((step > 0) & (step <= 1)):
        raise ValueError("every visual token needs a delta above 0 and at most 1")
    starts = _starts_of_runs(visual)
    if not len(starts):
        return np.empty(0)
    step[0] = 0.0
    # Each run of equal tokens begins after a whole number of positions.
    before = np.concatenate([[0.0], np.cumsum(_round_up(np.add.reduceat(step, starts)))[:-1]])
    lengths = np.diff([*starts, len(step)])
    counted = np.cumsum(step)
    counted_before = counted[starts] - step[starts]
    return counted + np.repeat(before - counted_before, lengths)


def next_position(position_T: NDArray[np.float64]) -> int:
    """Return the position of the first token generated after a prompt; later tokens add 1 each.

    Args:
        position_T: the positions of the prompt.
    """
    return int(_round_up(position_T[-1])) + 1 if len(position_T) else 0


def encode(position_T: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return positions as the three integer rows (3, T) of vLLM's M-RoPE.

    The rows (a, a + f, a) mean the position a + f / 4096. vLLM gives a generated token the same integer in
    all three rows; f is then 0, so the rows mean that integer. A number that vLLM adds to all rows is added
    to the position.
    """
    steps = np.rint(position_T * STEPS_PER_POSITION).astype(np.int64)
    integer, fraction = np.divmod(steps, STEPS_PER_POSITION)
    return np.stack([integer, integer + fraction, integer])


def decode(rows_3T: Any) -> Any:
    """Return the positions (T,) that `encode` turned into rows.

    Numpy arrays and torch tensors are both accepted, and the result is of the same kind.
    """
    return rows_3T[0] + (rows_3T[1] - rows_3T[0]) / STEPS_PER_POSITION


def parse_delta(value: object) -> float | Literal["auto"]:
    """Return a delta after checking it: "auto", or a number from 1/4096 to 1.

    The values that models were trained with are `TRAINED_DELTAS`.

    Raises:
        ValueError: it is anything else; the message says what to send.
    """
    if value == "auto":
        return "auto"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 / STEPS_PER_POSITION <= value <= 1:  # type: ignore[operator]
        raise ValueError(
            f'v2pe_delta must be "auto" or a number above 0 and at most 1, not {value!r}. '
            "The smallest number is 1/4096; the model was trained with 1, 1/2, 1/4, ... 1/256 "
            "(1, 0.5, 0.25, ... 0.00390625)"
        )
    return float(value)  # type: ignore[arg-type]


def parse_deltas(value: object) -> Deltas:
    """Return a request's `v2pe_delta` after checking it.

    It is one delta for all, as `parse_delta` accepts it, or a list with one number for each image and video.

    Raises:
        ValueError: it is anything else; the message says what to send.
    """
    if not isinstance(value, list | tuple):
        return parse_delta(value)
    if "auto" in value:
        raise ValueError(
            'v2pe_delta "auto" chooses one delta for the whole prompt: send it alone, not in a list'
        )
    return tuple(float(parse_delta(delta)) for delta in value)


class WindowExceeded(ValueError):
    """A prompt and its answer don't fit the model's window. The message says with which delta they would."""


def choose_deltas(
    requested: Deltas,
    medium_T: ArrayLike,
    *,
    max_tokens: int,
    window: int,
    reserve: int = 0,
    growth: int = 0,
) -> tuple[float, ...]:
    """Return the delta of each image or video of a prompt, checked against the model's window.

    "auto" becomes the largest trained delta with which prompt and answer fit, for all images and videos. As a
    chat grows, its earlier images would move and be computed again when this delta changes. So "auto" keeps
    room for further turns after the last image or video, if a delta allows it.

    Args:
        requested: the result of `parse_deltas`.
        medium_T: int (T,) over the prompt's tokens: the number of the image or video that a visual token
            belongs to, counted from 0 in the order of the prompt; -1 for text.
        max_tokens: positions kept free for the answer. window: how many positions the model was trained on.
        reserve: positions that "auto" keeps free for an answer of unknown length, if a delta allows it.
        growth: positions that "auto" keeps free after the last image or video, for all that follows in the
            conversation, if a delta allows it.

    Returns:
        One delta for each image or video, in the order of the prompt.

    Raises:
        ValueError: the list has another length.
        WindowExceeded: prompt and answer don't fit; the message names the largest delta with which they fit.
    """
    medium_of = np.asarray(medium_T, dtype=np.int64)
    media = int(medium_of.max(initial=-1)) + 1
    if isinstance(requested, tuple) and len(requested) != media:
        raise ValueError(
            f"v2pe_delta has {len(requested)} numbers for {media} images and videos: "
            "send one for each, in the order of the prompt, or one number for all"
        )
    if requested != "auto":
        deltas = requested if isinstance(requested, tuple) else (requested,) * media
        if positions_needed(medium_of, deltas) + max_tokens <= window:
            return deltas
    visual = np.flatnonzero(medium_of >= 0)
    head = medium_of[: visual[-1] + 1] if len(visual) else medium_of[:0]

    def largest(room: int, growth: int) -> float | None:
        for delta in TRAINED_DELTAS:
            grows = not growth or positions_needed(head, (delta,) * media) + growth <= window
            if grows and positions_needed(medium_of, (delta,) * media) + room <= window:
                return delta
        return None

    fitting = largest(max_tokens, 0)
    if requested == "auto":
        room = max(max_tokens, reserve)
        auto = largest(room, growth) or largest(room, 0) or fitting
        if auto is not None:
            return (auto,) * media
        deltas = (TRAINED_DELTAS[-1],) * media
    listed = ", ".join(f"{delta:g}" for delta in dict.fromkeys(deltas))
    needed = positions_needed(medium_of, deltas)
    problem = (
        f"the prompt takes {needed} positions at v2pe_delta {listed} and the answer up to {max_tokens}; "
        f"the model's window is {window}"
    )
    if fitting is None:
        raise WindowExceeded(
            f"{problem}. No v2pe_delta makes it fit: shorten the prompt, or lower max_tokens"
        )
    raise WindowExceeded(f"{problem}. The largest v2pe_delta that fits is {Fraction(fitting)} ({fitting:g})")


def positions_needed(medium_T: NDArray[np.int64], deltas: tuple[float, ...]) -> int:
    """Return how many positions a prompt takes; `medium_T` and `deltas` are those of `choose_deltas`."""
    if not len(medium_T):
        return 0
    step_T = np.array([*deltas, 1.0])[medium_T]  # Text has the index -1, which picks the last number.
    step_T[0] = 0.0
    return int(_round_up(np.add.reduceat(step_T, _starts_of_runs(medium_T >= 0))).sum()) + 1


def _round_up(position: Any) -> Any:
    # Ten steps of a delta such as 0.1 add up to 0.9999.. or 1.0000..1 in floating point; both mean 1.
    return np.ceil(np.round(position, 9))


def _starts_of_runs(visual_T: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the index at which every maximal stretch of equal values begins."""
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(visual_T)), bool), np.diff(visual_T)]))
