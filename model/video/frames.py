"""Which frames of a video the model sees. Numbers only; model/video/tiles.py decodes.

The default is the published choice, the middles of equal segments, counted in frames (`get_index` of the
model cards, without its `bound`).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_FPS = 1000.0
TOLERANCE = 0.001
"""Seconds: Matroska and FLV round every timestamp to a millisecond."""


@dataclass(frozen=True)
class FrameRequest:
    """How frames are to be chosen.

    `num_frames`: at the middles of that many equal segments. `fps`: so many a second instead, thinned evenly
    to `num_frames` unless that is None. Both None: as many as allowed. `mode`: these very frames, or
    the keyframes nearest to them for a fraction of the work. Raises ValueError where a number makes no sense.
    """

    num_frames: int | None = 32
    fps: float | None = None
    mode: Literal["exact", "keyframe"] = "exact"

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, not {self.num_frames}")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be a number above 0, not {self.fps}")
        if self.mode not in ("exact", "keyframe"):
            raise ValueError(f"mode must be exact or keyframe, not {self.mode}")


def segment_midpoints(total: int, num_frames: int) -> NDArray[np.int64]:
    """Indices (num_frames,) into `total` frames, as published.

    With more segments than frames some repeat; `choose_frames` never does.

    Raises:
        ValueError: `total` or `num_frames` is below 1.
    """
    if total < 1 or num_frames < 1:
        raise ValueError(f"can't choose {num_frames} of {total} frames: both must be at least 1")
    # The published arithmetic to the letter: halves are rounded to even, then the sum is cut off.
    segment = float(total - 1) / num_frames
    return np.minimum((segment / 2 + np.round(segment * np.arange(num_frames))).astype(np.int64), total - 1)


def choose_frames(times_F: NDArray[np.float64], request: FrameRequest, *, limit: int) -> NDArray[np.int64]:
    """Sorted indices into the shown frames, at most `limit`, each frame at most once.

    `times_F`: when each is first shown, in seconds from the first, ascending. A video with no more frames
    than asked for gives all of them: the published code would repeat some and leave others out.

    Raises:
        ValueError: there are no frames, or `limit` is below 1.
    """
    if not len(times_F) or limit < 1:
        raise ValueError(f"can't choose {limit} of {len(times_F)} frames: both must be at least 1")
    candidates = np.arange(len(times_F))
    if request.fps is not None:
        candidates = candidates[_shown_at_a_tick(times_F, min(request.fps, MAX_FPS))]
    most = limit if request.num_frames is None else min(request.num_frames, limit)
    if len(candidates) <= most:
        return candidates
    return candidates[segment_midpoints(len(candidates), most)]


def nearest_keyframes(
    chosen: NDArray[np.int64], keyframes: NDArray[np.int64], times_F: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The keyframe nearest in time to each of the `chosen`, sorted, each once; both index `times_F`.

    Raises:
        ValueError: there is no keyframe.
    """
    if not len(keyframes):
        raise ValueError("there are no keyframes to choose from")
    moments = times_F[keyframes]
    after = np.clip(np.searchsorted(moments, times_F[chosen]), 1, max(len(keyframes) - 1, 1))
    after = np.minimum(after, len(keyframes) - 1)
    before = np.maximum(after - 1, 0)
    closer = times_F[chosen] - moments[before] <= moments[after] - times_F[chosen]
    return np.unique(keyframes[np.where(closer, before, after)])


def _shown_at_a_tick(times_F: NDArray[np.float64], fps: float) -> NDArray[np.bool_]:
    # Frame i is on screen from times_F[i] until the next one; it is taken if a tick k / fps falls in between.
    # Counted per frame, not per tick: no rate makes this longer than the video.
    until_F = np.append(times_F[1:], times_F[-1] + 2 * TOLERANCE)
    ticks_before = np.ceil((np.stack([times_F, until_F]) - TOLERANCE) * fps)
    return np.asarray(ticks_before[0] < ticks_before[1])
