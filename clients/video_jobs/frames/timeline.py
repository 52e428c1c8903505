"""When the frames of a video are shown, read from its packets without decoding."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av

from .container import Packets
from .errors import VideoError

TOLERANCE = 0.001  # seconds, because Matroska and FLV round every time to a millisecond
CUT_OFF = 0.02  # the share of its length by which a file may be shorter than its header says, and one second


@dataclass(frozen=True)
class Timeline:
    """The shown frames of a video: their times in the stream's ticks, ascending, and what the file says.

    `duration` is in seconds, until the last frame ends. `is_variable` is whether the frame rate varies.
    """

    pts: tuple[int, ...]
    time_base: Fraction
    duration: float
    codec: str
    width: int
    height: int
    is_variable: bool

    def seconds(self, pts: int) -> float:
        """Return the time of a frame in seconds from the first frame that is shown."""
        return float((pts - self.pts[0]) * self.time_base)

    def taken(self, fps: float) -> tuple[int, ...]:
        """Return the frames (as times in ticks) that a take of so many frames a second consists of."""
        times = [self.seconds(pts) for pts in self.pts]
        return tuple(self.pts[number] for number in taken_frames(times, self.duration, fps))


def taken_frames(times: Sequence[float], duration: float, fps: float) -> list[int]:
    """Return the indices of the frames that are shown at 0, 1/fps, 2/fps, ... seconds, each once.

    `times` are when all frames of the video are shown, and `duration` is until the last one ends, in seconds.
    """
    count = max(1, int(duration * fps - TOLERANCE) + 1)
    shown = {max(bisect_right(times, tick / fps + TOLERANCE) - 1, 0) for tick in range(count)}
    return sorted(shown)


def read_timeline(path: Path, container: Any, stream: Any) -> Timeline:
    """Return when the frames of an open video are shown.

    Raises:
        VideoError: it has no frames, or the file ends before its header says that it does.
    """
    packets = Packets(container, stream)
    durations: dict[int, int] = {}
    first: int | None = None  # frames that are shown before the first keyframe can't be decoded
    for packet in packets:
        if packet.pts is None:
            continue  # It is the second field of an interlaced frame, or it can't be chosen by its time.
        if first is None and packet.is_keyframe:
            first = packet.pts
        if not packet.is_discard:  # An edit list hides discarded packets.
            durations[packet.pts] = packet.duration or 0
    pts = tuple(sorted(time for time in durations if first is not None and time >= first))
    if not pts:
        raise VideoError(f"{path} has no frames with times. Copy or encode the video again.", "probe")
    base = Fraction(stream.time_base)
    duration = float((pts[-1] + durations[pts[-1]] - pts[0]) * base)
    stated = _stated_seconds(container)
    if packets.is_damaged or stated > packets.end * (1 + CUT_OFF) + 1:
        says = f", and its header says {stated:.0f} s" if stated > duration else ""
        raise VideoError(
            f"{path} can be read up to {duration:.0f} s only{says}. It is cut off, damaged or still being "
            "written: copy it again, or join its good part with ffmpeg -i FILE -c copy.",
            "probe",
        )
    steps = [later - earlier for earlier, later in pairwise(pts)]
    usual = median(steps) if steps else 0
    return Timeline(
        pts=pts,
        time_base=base,
        duration=duration,
        codec=stream.codec_context.codec.canonical_name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        # Matroska rounds to milliseconds, so steps of one rate may differ by one of them.
        is_variable=any(abs(step - usual) * base > 0.0021 for step in steps),
    )


def _stated_seconds(container: Any) -> float:
    """Return when the longest stream ends by the file's header, or 0 if the header doesn't say."""
    # Of a transport stream FFmpeg guesses it, from clocks that may have restarted.
    if container.format.name == "mpegts" or container.duration is None:
        return 0.0
    return float((container.start_time or 0) + container.duration) / av.time_base
