"""Choose the frames of a video that the model sees, from the times of all frames.

By default these are the middles of equal segments, counted in frames, as published (`get_index` of the model
cards; `start` and `end` are its `bound`). model/video/tiles.py decodes the chosen frames.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_FPS = 1000.0
TOLERANCE = 0.001
"""The tolerance of times in seconds, because Matroska and FLV round every timestamp to a millisecond."""


@dataclass(frozen=True)
class FrameRequest:
    """The options for choosing frames.

    With `num_frames` alone, frames are the middles of that many equal segments. With `fps`, frames are chosen
    at that rate, and thinned evenly to `num_frames` unless that is None. If both are None, there are as many
    frames as the limit allows. `start` and `end`, in seconds from the first frame, leave the frames outside
    them out. With `times`, the frames that are shown at these seconds are chosen; `num_frames` then has no
    meaning, and the other fields must be None. In the mode "exact" these frames are taken. In the mode
    "keyframe" the keyframes nearest to them are taken, which is much less work. Raises ValueError if a value
    is out of range.
    """

    num_frames: int | None = 32
    fps: float | None = None
    mode: Literal["exact", "keyframe"] = "exact"
    start: float | None = None
    end: float | None = None
    times: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, not {self.num_frames}")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be a number above 0, not {self.fps}")
        if self.mode not in ("exact", "keyframe"):
            raise ValueError(f"mode must be exact or keyframe, not {self.mode}")
        for name, seconds in (("start", self.start), ("end", self.end), *self.named_times):
            if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{name} must be a number of seconds from 0, not {seconds}")
        if self.end is not None and self.end <= (self.start or 0):
            raise ValueError(f"end must be after start, which is {self.start or 0:g}, not {self.end:g}")
        if self.times is not None:
            if not self.times:
                raise ValueError("times must hold at least one number of seconds")
            if {self.fps, self.start, self.end} != {None}:
                raise ValueError("times can't be combined with fps, start or end")

    @property
    def named_times(self) -> list[tuple[str, float]]:
        """The `times` with the names that error messages give them."""
        return [(f"times[{number}]", seconds) for number, seconds in enumerate(self.times or ())]

    def num_wanted(self, limit: int) -> int:
        """Return the most frames that can be chosen, at most `limit`."""
        if self.times is not None:
            return len(self.times)
        return limit if self.num_frames is None else min(self.num_frames, limit)


def segment_midpoints(total: int, num_frames: int) -> NDArray[np.int64]:
    """Return the indices (num_frames,) of the middles of equal segments of `total` frames, as published.

    If there are more segments than frames, some indices repeat; those of `choose_frames` never do.

    Raises:
        ValueError: `total` or `num_frames` is below 1.
    """
    if total < 1 or num_frames < 1:
        raise ValueError(f"can't choose {num_frames} of {total} frames: both must be at least 1")
    # This is the published arithmetic: halves are rounded to even, and then the sum is truncated.
    segment = float(total - 1) / num_frames
    return np.minimum((segment / 2 + np.round(segment * np.arange(num_frames))).astype(np.int64), total - 1)


def choose_frames(
    times_F: NDArray[np.float64], request: FrameRequest, *, limit: int, duration: float = math.inf
) -> NDArray[np.int64]:
    """Return the sorted indices of the chosen frames, at most `limit`, each frame at most once.

    If the video has no more frames than requested, all of them are chosen. The published code would repeat
    some and leave others out.

    Args:
        times_F: when each frame is first shown, in seconds from the first frame, ascending.
        request: how to choose.
        limit: the most frames.
        duration: the number of seconds until the last frame ends.

    Raises:
        ValueError: there are no frames, `limit` is below 1, or less than the number of `times`, or `start` or
            one of `times` is after the end of the video.
    """
    if not len(times_F) or limit < 1:
        raise ValueError(f"can't choose {limit} of {len(times_F)} frames: both must be at least 1")
    for name, seconds in (("start", request.start or 0.0), *request.named_times):
        if seconds > duration + TOLERANCE:
            raise ValueError(f"{name} is {seconds:g} s, but the video ends at {duration:g} s")
    if request.times is not None:
        if len(request.times) > limit:
            raise ValueError(f"times holds {len(request.times)} numbers, more than the limit of {limit}")
        return np.unique(_shown_at(times_F, np.array(request.times)))
    eligible = frames_between(times_F, request.start or 0.0, request.end)
    if request.fps is not None:
        times_E = times_F[eligible] - times_F[eligible[0]]
        eligible = eligible[_shown_at_a_tick(times_E, min(request.fps, MAX_FPS))]
    most = request.num_wanted(limit)
    if len(eligible) <= most:
        return eligible
    return eligible[segment_midpoints(len(eligible), most)]


def frames_between(times_F: NDArray[np.float64], start: float, end: float | None) -> NDArray[np.int64]:
    """Return the indices of the frames that are first shown from `start` to `end`, in seconds.

    If there is none, it is the frame that is shown at `start`. If `end` is None, the video's end is meant.
    """
    last = math.inf if end is None else end
    inside = np.flatnonzero((times_F >= start - TOLERANCE) & (times_F <= last + TOLERANCE))
    return inside if len(inside) else _shown_at(times_F, np.array([start]))


def nearest_keyframes(
    chosen: NDArray[np.int64], keyframes: NDArray[np.int64], times_F: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the keyframes nearest in time to the chosen frames, sorted, each keyframe once.

    Args:
        chosen: the chosen frames, as indices into `times_F`.
        keyframes: the shown keyframes, as indices into `times_F`.
        times_F: when each frame is first shown, in seconds.

    Raises:
        ValueError: there is no keyframe.
    """
    if not len(keyframes):
        raise ValueError("there are no keyframes to choose from: use the mode exact")
    moments = times_F[keyframes]
    after = np.clip(np.searchsorted(moments, times_F[chosen]), 1, max(len(keyframes) - 1, 1))
    after = np.minimum(after, len(keyframes) - 1)
    before = np.maximum(after - 1, 0)
    closer = times_F[chosen] - moments[before] <= moments[after] - times_F[chosen]
    return np.unique(keyframes[np.where(closer, before, after)])


def _shown_at(times_F: NDArray[np.float64], seconds_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each moment the index of the frame that is shown then."""
    return np.maximum(np.searchsorted(times_F, seconds_N + TOLERANCE, side="right") - 1, 0)


def _shown_at_a_tick(times_F: NDArray[np.float64], fps: float) -> NDArray[np.bool_]:
    # Frame i is shown from times_F[i] until the next frame. It is chosen if a tick k / fps falls in between.
    # The loop is over frames and not over ticks, so a high rate can't make the array longer than the video.
    until_F = np.append(times_F[1:], times_F[-1] + 2 * TOLERANCE)
    ticks_before = np.ceil((np.stack([times_F, until_F]) - TOLERANCE) * fps)
    return np.asarray(ticks_before[0] < ticks_before[1])
