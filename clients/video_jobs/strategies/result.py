"""The answer to a question, from the reply of the last request and what came before it."""

from collections.abc import Mapping, Sequence
from typing import Any

from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import Event, VideoAnswer
from clients.video_jobs.requests.outline import Outline, frame_times

from .replies import delta_of, text_of, total_usage


def video_answer(
    strategy: str,
    reason: str,
    outline: Outline,
    reply: Mapping[str, Any],
    replies: Sequence[Mapping[str, Any]],
    video: VideoFrames,
    *,
    events: Sequence[Event] = (),
    evidence: Mapping[str, Any] | None = None,
) -> VideoAnswer:
    """Return the answer that `reply` gives to `outline`; `replies` are those of all requests.

    If frames of the video were damaged, the evidence says how many are missing.

    Raises ClientError if the reply holds no text.
    """
    missing = {"missing_frames": video.stored.missing} if video.stored.missing else {}
    return VideoAnswer(
        answer=text_of(reply),
        strategy=strategy,
        reason=reason,
        events=tuple(events),
        frames=tuple(frame_times(outline, video)),
        delta=delta_of(reply),
        usage=total_usage(replies),
        decode_passes=video.decode_passes,
        evidence={**(evidence or {}), **missing},
    )
