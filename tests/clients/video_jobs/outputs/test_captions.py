"""Chapters are nested or disjoint whatever the events are, and neither format can be broken by a text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.outputs.captions import nested_or_disjoint, srt, webvtt_chapters

SECONDS = st.floats(0, 100_000, allow_nan=False)
EVENTS = st.lists(st.tuples(SECONDS, SECONDS, st.text(max_size=20)), max_size=8)


def test_chapters_of_a_video() -> None:
    events = [(3661.5, 3670.0, "an <hour> & a bit"), (0.0, 12.25, "start\nof it")]
    assert webvtt_chapters(events) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:12.250\nstart of it\n\n"
        "01:01:01.500 --> 01:01:10.000\nan &lt;hour&gt; &amp; a bit\n"
    )


def test_subtitles_of_a_video() -> None:
    assert srt([(1.0, 2.0, "one --> two"), (0.0, 0.0, "")]) == (
        "1\n00:00:00,000 --> 00:00:00,100\n-\n\n2\n00:00:01,000 --> 00:00:02,000\none -> two\n"
    )


def test_an_event_that_overlaps_the_next_one_in_part_ends_there() -> None:
    events = [(0.0, 10.0, "outer"), (2.0, 4.0, "inner"), (8.0, 15.0, "next"), (20.0, 21.0, "last")]
    assert nested_or_disjoint(events) == [
        (0.0, 8.0, "outer"),
        (2.0, 4.0, "inner"),
        (8.0, 15.0, "next"),
        (20.0, 21.0, "last"),
    ]


@given(EVENTS)
def test_no_two_chapters_overlap_in_part(events: list[tuple[float, float, str]]) -> None:
    cues = nested_or_disjoint(events)
    assert [cue[0] for cue in cues] == sorted(cue[0] for cue in cues)
    for number, (start, end, _) in enumerate(cues):
        assert end > start
        for later_start, later_end, _ in cues[number + 1 :]:
            assert later_start >= end or later_end <= end


@given(EVENTS)
def test_a_text_adds_no_line_and_no_arrow(events: list[tuple[float, float, str]]) -> None:
    vtt = webvtt_chapters(events)
    arrow = re.compile(r"^\d\d+:\d\d:\d\d\.\d{3} --> \d\d+:\d\d:\d\d\.\d{3}$")
    blocks = [block.rstrip("\n").split("\n") for block in vtt.split("\n\n")[1:]]
    assert all(len(block) == 2 and arrow.match(block[0]) for block in blocks)
    assert vtt.count("-->") == len(blocks)
    assert srt(events).count("-->") == len(events)
