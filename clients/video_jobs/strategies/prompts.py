"""The texts of all requests. Each has a name with a version, which changes when its wording does."""

from collections.abc import Sequence
from typing import Any

from clients.video_jobs.questions import Event
from clients.video_jobs.requests.time_tags import time_tag

ANSWER, NOTES, OVER_NOTES, SCORE, ROUTE = "answer-1", "notes-1", "over-notes-1", "score-1", "route-1"
LONGEST_TEXT = 240  # characters of the description of an event
MOST_EVENTS = 24  # in one segment


def notes_text(start: float, end: float, focus: str | None, subtitles: str) -> str:
    """Return the request for the events of a segment; the frames stand before it."""
    about = f" Look above all for this: {focus}." if focus else ""
    return (
        f"{subtitles}These frames show a video from {time_tag(start)} to {time_tag(end)}. List all events "
        f"that can be seen in them, in the order of time.{about} For each event give `start`, the time in "
        "front of the first frame that shows it, `end`, the time in front of the last frame that shows it, "
        "and `text`, which describes it in a few words. If nothing happens, the list is empty."
    )


def notes_format(tags: Sequence[str]) -> dict[str, Any]:
    """Return the `response_format` of the events of a segment, in which only its frames' tags are times."""
    tag = {"type": "string", "enum": list(dict.fromkeys(tags))}
    event = {
        "type": "object",
        "properties": {
            "start": tag,
            "end": tag,
            "text": {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
        },
        "required": ["start", "end", "text"],
        "additionalProperties": False,
    }
    events = {"type": "array", "items": event, "maxItems": MOST_EVENTS}
    schema = {
        "type": "object",
        "properties": {"events": events},
        "required": ["events"],
        "additionalProperties": False,
    }
    return answer_format(schema, "events")


def answer_format(schema: Any, name: str = "answer") -> dict[str, Any]:
    """Return the `response_format` for a JSON schema."""
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": name, "schema": schema, "strict": True},
        }
    }


def over_notes_text(events: Sequence[Event], left_out: int, subtitles: str, question: str) -> str:
    """Return a question after the notes on the video; `left_out` events are missing in them."""
    lines = [f"{time_tag(event.start)}-{time_tag(event.end)} {event.text}" for event in events]
    listed = "\n".join(lines) or "Nothing happens."
    missing = f"\n({left_out} more events are left out.)" if left_out else ""
    return f"{subtitles}Notes on all of the video:\n{listed}{missing}\n\n{question}"


def score_text(question: str, subtitles: str) -> str:
    """Return the request that scores a segment by its first token."""
    return (
        f"{subtitles}These frames are a part of a video. Do they show something that helps to answer this "
        f"question?\n{question}\nAnswer yes or no."
    )


def route_text(question: str) -> str:
    """Return the request that tells questions about a moment from those about the whole video."""
    return (
        f"A question about a long video:\n{question}\n"
        "Can it be answered from one or a few short moments of the video? Answer yes or no."
    )
