"""Notes on a video: the events of its segments, which serve all questions on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from statistics import median
from typing import Any

from clients.sdk.errors import ClientError
from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import Asker, Event
from clients.video_jobs.requests.choosing import frames_between, thinned
from clients.video_jobs.requests.context import Context
from clients.video_jobs.requests.outline import Outline, paid_request
from clients.video_jobs.requests.segments import Segment, cuts_between, even_segments, shot_segments
from clients.video_jobs.requests.time_tags import span_of_tags, time_tag

from .merging import Span, merge_events
from .parallel import in_parallel
from .prompts import NOTES, notes_format, notes_text
from .replies import text_of

NOTE_TOKENS = 1024  # the longest list of events of a segment
MOST_FRAMES = 128  # of a segment; with more taken frames a second they are thinned


@dataclass(frozen=True)
class Notes:
    """The events of a video in the order of time, and the segments whose notes couldn't be read."""

    events: tuple[Event, ...]
    unread: tuple[Segment, ...]
    replies: tuple[Mapping[str, Any], ...]


def segments_of(context: Context) -> tuple[Segment, ...]:
    """Return the segments of the part of the video that the question is about."""
    settings = context.settings
    if settings.scenes:
        cuts = cuts_between(context.cuts, context.start, context.end)
        return shot_segments(context.start, context.end, cuts, settings.overlap / 2)
    return even_segments(context.start, context.end, settings.segment_seconds, settings.overlap)


def frames_of(context: Context, segment: Segment) -> tuple[int, ...]:
    """Return the taken frames that are shown in a segment."""
    return thinned(frames_between(context.times, segment.start, segment.end), MOST_FRAMES)


def note_outline(context: Context, segment: Segment) -> Outline:
    """Return the request for the events of a segment. It doesn't hold the question, so all share it."""
    frames = frames_of(context, segment)
    tags = [time_tag(context.times[number]) for number in frames]
    subtitles = context.subtitles(frames, segment.start, segment.end)
    return Outline(
        purpose=f"segment {segment.number}",
        prompt=NOTES,
        frames=frames,
        text=notes_text(segment.start, segment.end, context.settings.focus, subtitles),
        max_tokens=NOTE_TOKENS,
        fields=notes_format(tags) | {"temperature": 0},
    )


async def take_notes(context: Context, video: VideoFrames, ask: Asker) -> Notes:
    """Have the events of all segments listed, and merge them. Raises ClientError."""
    segments = segments_of(context)
    outlines = [note_outline(context, segment) for segment in segments]

    async def listed(outline: Outline) -> Mapping[str, Any]:
        return await ask(paid_request(outline, video, context.settings))

    replies = await in_parallel(listed, outlines, context.settings.parallel)
    events: list[Event] = []
    unread = []
    for segment, outline, reply in zip(segments, outlines, replies, strict=True):
        in_segment = _events_of(reply, segment, outline, context)
        if in_segment is None:
            unread.append(segment)
        else:
            events += in_segment
    spans = {
        segment.number: _shown(context, outline, segment, len(segments))
        for segment, outline in zip(segments, outlines, strict=True)
    }
    merged = merge_events(events, gap=_usual_step(context.times), spans=spans)
    return Notes(merged, tuple(unread), tuple(replies))


def _events_of(
    reply: Mapping[str, Any], segment: Segment, outline: Outline, context: Context
) -> list[Event] | None:
    """Return the events that a reply lists, or None if it can't be read to its end."""
    try:
        listed = json.loads(text_of(reply))["events"]
        rows = [(str(row["start"]), str(row["end"]), str(row["text"]).strip()) for row in listed]
    except (ClientError, ValueError, KeyError, TypeError):
        return None
    times = [context.times[number] for number in outline.frames]
    end = _end_of_last(context, outline)
    spans = [(span_of_tags(first, last, times, end), text) for first, last, text in rows]
    return [Event(*span, text, segment.number) for span, text in spans if span is not None and text]


def _end_of_last(context: Context, outline: Outline) -> float:
    """Return when the last frame of a request ceases to be shown."""
    after = outline.frames[-1] + 1
    return context.times[after] if after < len(context.times) else context.duration


def _shown(context: Context, outline: Outline, segment: Segment, count: int) -> Span:
    """Return from when to when the frames of a segment are shown; nothing comes before the first one."""
    first = -inf if segment.number == 0 else context.times[outline.frames[0]]
    return first, inf if segment.number == count - 1 else _end_of_last(context, outline)


def _usual_step(times: Sequence[float]) -> float:
    """Return the usual number of seconds between two taken frames."""
    return median(later - earlier for earlier, later in pairwise(times)) if len(times) > 1 else 0.0
