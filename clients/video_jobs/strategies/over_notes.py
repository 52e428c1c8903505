"""The strategy `segments`: the answer is given over notes on all segments and the frames of their events."""

from collections.abc import Sequence

from clients.video_jobs.frames.video_frames import VideoFrames
from clients.video_jobs.questions import Asker, Event, VideoAnswer
from clients.video_jobs.requests.choosing import filled, shown_at, thinned
from clients.video_jobs.requests.context import Context
from clients.video_jobs.requests.outline import Outline, paid_request

from .merging import words
from .notes import take_notes
from .prompts import OVER_NOTES, over_notes_text
from .result import video_answer
from .window import answer_by_window, answer_fields

MOST_EVENTS = 400  # in the notes of one request, about 8,000 tokens
REASON = "notes on overlapping segments see events that fall between uniform frames"


def final_outline(context: Context, events: Sequence[Event]) -> Outline:
    """Return the request that answers the question over the notes.

    Its frames are the anchors and, as far as there is room, the middles of events. Those whose notes share
    words with the question come first, and then others at even distances.
    """
    settings = context.settings
    topic = words(context.question.question)
    fitting = [event for event in events if words(event.text) & topic]
    others = [event for event in events if event not in fitting]
    listed = events
    if len(events) > MOST_EVENTS:
        kept = [*fitting[:MOST_EVENTS], *thinned_events(others, MOST_EVENTS - len(fitting[:MOST_EVENTS]))]
        listed = sorted(kept, key=lambda event: event.start)
    anchors = context.uniform(settings.anchor_count)
    room = settings.num_frames - len(anchors)
    preferred = [*thinned_events(fitting, room), *thinned_events(others, room)]
    middles = [shown_at(context.times, (event.start + event.end) / 2) for event in preferred]
    frames = filled(middles, anchors, settings.num_frames) or context.uniform(1)
    return Outline(
        purpose="answer",
        prompt=OVER_NOTES,
        frames=frames,
        text=over_notes_text(
            listed, len(events) - len(listed), context.subtitles(frames), context.question.question
        ),
        max_tokens=settings.max_tokens,
        fields=answer_fields(context),
    )


def thinned_events(events: Sequence[Event], count: int) -> list[Event]:
    """Return so many of the events at even distances, or all of them if they are no more."""
    return [events[number] for number in thinned(range(len(events)), max(count, 0))] if count > 0 else []


async def answer_over_notes(context: Context, video: VideoFrames, ask: Asker) -> VideoAnswer:
    """Answer a question over notes on all segments. Without readable notes uniform frames answer it.

    Raises ClientError.
    """
    notes = await take_notes(context, video, ask)
    unread = [[segment.start, segment.end] for segment in notes.unread]
    if len(unread) == len(notes.replies):
        return await answer_by_window(
            context,
            video,
            ask,
            fallback="no segment's notes could be read, so uniform frames answer the question",
            earlier=notes.replies,
        )
    outline = final_outline(context, notes.events)
    reply = await ask(paid_request(outline, video, context.settings))
    return video_answer(
        "segments",
        REASON,
        outline,
        reply,
        [*notes.replies, reply],
        video,
        events=notes.events,
        evidence={"segments": len(notes.replies), "unread_segments": unread},
    )
