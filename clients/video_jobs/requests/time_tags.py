"""The times in front of frames, as the server writes them, and the frames that a tag in an answer means."""

import re
from bisect import bisect_left
from collections.abc import Sequence

TAG = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{2})(?:\.\d+)?")


def time_tag(seconds: float) -> str:
    """Return a time as the server writes it in front of a frame: 00:12, or 01:00:12."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}" if hour else f"{minute:02d}:{second:02d}"


def tag_seconds(tag: str) -> int | None:
    """Return the whole seconds of a tag, or None if the text is none."""
    match = TAG.fullmatch(tag.strip())
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)


def span_of_tags(first: str, last: str, times: Sequence[float], end: float) -> tuple[float, float] | None:
    """Return when the frames from tag `first` to tag `last` are shown, or None if no frame has these tags.

    `times` are those of the frames (ascending), the last of which is shown until `end`. A frame has the tag
    of the second in which it begins. If the tags are in the wrong order they change places.
    """
    seconds = [tag_seconds(first), tag_seconds(last)]
    if None in seconds:
        return None
    low, high = sorted(second for second in seconds if second is not None)
    begin, after = bisect_left(times, low), bisect_left(times, high + 1)
    if begin >= after:
        return None
    return times[begin], times[after] if after < len(times) else end
