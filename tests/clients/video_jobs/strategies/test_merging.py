"""What overlapping segments saw becomes one list, in which nothing is missing and nothing stands twice."""

from collections.abc import Sequence
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.questions import Event
from clients.video_jobs.requests.segments import Segment, even_segments
from clients.video_jobs.strategies.merging import alike, merge_events

STEP = 1  # seconds between two frames
NAMES = ("a red car", "two dogs", "3 boats", "somebody waves", "the digit 7", "the digit 8")


@st.composite
def separate_events(draw: st.DrawFn) -> list[Event]:
    """Events of whole seconds; equal ones are apart by more than a frame, others may touch or coincide."""
    events = []
    for name in NAMES:
        time = 0
        for gap, length in draw(st.lists(st.tuples(st.integers(2, 60), st.integers(1, 90)), max_size=5)):
            events.append(Event(time + gap, time + gap + length, name))
            time += gap + length
    return events


def seen(events: Sequence[Event], segments: Sequence[Segment]) -> list[Event]:
    """What is seen of the events in each segment, whose frames stand at whole seconds."""
    parts = []
    for segment in segments:
        first, last = -(-segment.start // STEP), -(-segment.end // STEP)
        for event in events:
            start, end = max(event.start, first), min(event.end, last)
            if start < end:
                parts.append(Event(start, end, event.text, segment.number))
    return parts


def frames_of(segments: Sequence[Segment]) -> dict[int, tuple[float, float]]:
    """When the frames of segments are shown, which stand at whole seconds."""
    spans = {one.number: (float(-(-one.start // STEP)), float(-(-one.end // STEP))) for one in segments}
    last = len(segments) - 1
    spans[0] = (-inf, spans[0][1])
    spans[last] = (spans[last][0], inf)
    return spans


@given(separate_events(), st.integers(10, 60), st.integers(0, 5), st.permutations(range(4)))
def test_events_cut_by_segments_come_back_whole(
    events: list[Event], seconds: int, overlap: int, order: list[int]
):
    """Whatever the segments and the order of the replies are, the merged events are the true ones."""
    length = max([event.end for event in events], default=10)
    segments = even_segments(0, length, seconds, overlap)
    parts = seen(events, segments)
    shuffled = sorted(parts, key=lambda part: (order[(part.segment or 0) % 4], part.start))
    merged = merge_events(shuffled, gap=STEP, spans=frames_of(segments))
    key = sorted((event.start, event.end, event.text) for event in events)
    assert [(event.start, event.end, event.text) for event in merged] == key


@given(
    st.lists(
        st.tuples(st.floats(0, 1000), st.floats(0.01, 100), st.sampled_from(NAMES)).map(
            lambda row: Event(row[0], row[0] + row[1], row[2])
        )
    )
)
def test_nothing_gets_lost_and_nothing_can_be_merged_further(events: list[Event]):
    merged = merge_events(events, gap=STEP)
    for event in events:
        assert any(
            one.start <= event.start and event.end <= one.end for one in merged if one.text == event.text
        )
    assert merge_events(merged, gap=STEP) == merged
    assert sum(one.end - one.start for one in merged) <= sum(e.end - e.start + STEP for e in events) + 1e-6


def test_what_was_seen_to_begin_counts_more_than_what_was_cut():
    """Segment 0 says that a dog was there all the time, and segment 1 has seen it come at 24."""
    spans = {0: (10.0, 26.0), 1: (20.0, 36.0)}
    cut, whole = Event(10.0, 26.0, "a dog", 0), Event(24.0, 28.0, "a dog", 1)
    assert merge_events([cut, whole], gap=STEP, spans=spans) == (Event(24.0, 28.0, "a dog", 0),)
    later = Event(24.0, 36.0, "a dog", 1)
    assert merge_events([cut, later], gap=STEP, spans=spans) == (Event(24.0, 36.0, "a dog", 0),)
    assert merge_events([cut], gap=STEP, spans=spans) == (cut,)
    # The end of one and the beginning of the next are too close to be told apart.
    first, second = Event(10.0, 24.0, "a dog", 0), Event(25.0, 36.0, "a dog", 1)
    assert merge_events([first, second], gap=STEP, spans=spans) == (Event(10.0, 36.0, "a dog", 0),)


def test_descriptions_are_compared_by_their_words():
    assert alike("A red car turns left", "the red car is turning left")
    assert not alike("a red car", "a blue bus")
    assert not alike("the digit 7", "the digit 8")
    assert alike("", "the")
    assert not alike("", "a dog")
