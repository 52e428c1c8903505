"""Merge the events of overlapping segments: what two segments saw is one event, and nothing gets lost."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from types import MappingProxyType

from clients.video_jobs.questions import Event

SIMILAR = 0.6  # the share of the shorter text's words that the longer one has, too
WORD = re.compile(r"\w+")
Span = tuple[float, float]
EVER: Span = (-inf, inf)
EMPTY = frozenset({"a", "an", "the", "is", "are", "of", "in", "on", "and", "with", "to"})


def merge_events(
    events: Iterable[Event], *, gap: float, spans: Mapping[int, Span] = MappingProxyType({})
) -> tuple[Event, ...]:
    """Return the events by their times, with those joined that describe the same.

    Two events are the same if their texts are alike and at most `gap` seconds lie between them. `spans` says
    for a segment from when to when (seconds) its frames are shown. An event that begins with the first frame
    of its segment may have begun earlier, so such a start counts only if no segment has seen one. The same
    holds for ends. A joined event has the text and the segment of the longest one.
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
    joined = (_joined(group, spans) for group in merged)
    return tuple(sorted(joined, key=lambda event: (event.start, event.end, event.text)))


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


def _joined(group: Sequence[Event], spans: Mapping[int, Span]) -> Event:
    longest = max(group, key=lambda event: (event.end - event.start, len(event.text)))
    shown = [(event, spans.get(-1 if event.segment is None else event.segment, EVER)) for event in group]
    start = min([event.start for event, (first, _) in shown if event.start > first], default=None)
    end = max([event.end for event, (_, last) in shown if event.end < last], default=None)
    earliest, latest = min(event.start for event in group), max(event.end for event in group)
    start, end = earliest if start is None else start, latest if end is None else end
    if start >= end:  # the end of one event and the beginning of the next
        start, end = earliest, latest
    return Event(start, end, longest.text, longest.segment)
