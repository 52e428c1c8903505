"""Segments cover a time span without a gap, whatever its length and its cuts are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.requests.segments import LONGEST, SHORTEST, even_segments, shot_segments

LENGTHS = st.floats(0.1, 40_000)


@given(st.floats(0, 5000), LENGTHS, st.floats(2, 600), st.floats(0, 0.5))
def test_even_segments_overlap_and_cover(start: float, length: float, seconds: float, share: float):
    overlap = seconds * share
    segments = even_segments(start, start + length, seconds, overlap)
    assert segments[0].start == start
    assert segments[-1].end == start + length
    assert all(0 < segment.end - segment.start <= seconds + 1e-6 for segment in segments)
    assert [segment.number for segment in segments] == list(range(len(segments)))
    for before, after in pairwise(segments):
        assert before.end - after.start == pytest.approx(overlap, abs=1e-6)
        assert before.start < after.start


@given(LENGTHS, st.lists(st.floats(0, 1)), st.floats(0, 5))
def test_shots_are_joined_and_cut_without_a_gap(length: float, shares: list[float], overlap: float):
    cuts = sorted(share * length for share in shares)
    segments = shot_segments(0.0, length, cuts, overlap)
    assert segments[0].start == 0.0
    assert segments[-1].end == length
    for before, after in pairwise(segments):
        assert before.end - after.start == pytest.approx(min(overlap, before.end), abs=1e-6)
    shots = [b.end - a.end for a, b in pairwise(segments)] + [segments[0].end]
    assert max(shots) <= LONGEST + 1e-6
    assert length < SHORTEST or min(shots) >= SHORTEST - 1e-6


def test_segments_begin_at_cuts():
    spans = [(one.start, one.end) for one in shot_segments(0.0, 100.0, [10.0, 11.0, 30.0, 99.0], 0.0)]
    assert spans == [(0.0, 10.0), (10.0, 30.0), (30.0, 65.0), (65.0, 100.0)]
