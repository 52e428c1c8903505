"""Merge the events of overlapping segments: what two segments saw is one event, and nothing gets lost."""

import re
from collections.abc import Iterable

from clients.video_jobs.questions import Event

SIMILAR = 0.6  # the share of the shorter text's words that the longer one has, too
WORD = re.compile(r"\w+")
EMPTY = frozenset({"a", "an", "the", "is", "are", "of", "in", "on", "and", "with", "to"})


def merge_events(events: Iterable[Event], *, gap: float) -> tuple[Event, ...]:
    """Return the events by their times, with those joined that describe the same.

    Two events are the same if their texts are alike and at most `gap` seconds lie between them. The joined
    one lasts from the earliest start to the latest end, and has the text and segment of the longest one. So
    each moment of an event lies in an event of the result.
    """
    merged: list[list[Event]] = []
    for event in sorted(events, key=lambda event: (event.start, event.end, event.text)):
        same = [
            group
            for group in merged
            if event.start <= max(other.end for other in group) + gap
            and any(alike(event.text, other.text) for other in group)
        ]
        for group in same:
            merged.remove(group)
        merged.append([*(other for group in same for other in group), event])
    return tuple(sorted(map(_joined, merged), key=lambda event: (event.start, event.end, event.text)))


def alike(left: str, right: str) -> bool:
    """Return whether two descriptions are of the same event.

    Numbers must be equal, and most of the shorter text's words must be in the other one.
    """
    one, other = words(left), words(right)
    if {word for word in one if word.isdigit()} != {word for word in other if word.isdigit()}:
        return False
    shorter = min(len(one), len(other))
    return len(one & other) >= SIMILAR * shorter if shorter else one == other


def words(text: str) -> frozenset[str]:
    """Return the words of a text in small letters, without those that carry no meaning."""
    return frozenset(WORD.findall(text.lower())) - EMPTY


def _joined(group: list[Event]) -> Event:
    longest = max(group, key=lambda event: (event.end - event.start, len(event.text)))
    return Event(
        min(event.start for event in group),
        max(event.end for event in group),
        longest.text,
        longest.segment,
    )
