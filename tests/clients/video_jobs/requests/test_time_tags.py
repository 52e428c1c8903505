"""Tags are those that the server writes, and they lead back to the frames."""

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.requests.time_tags import span_of_tags, tag_seconds, time_tag
from model.image_tokens import frame_labels


@given(st.floats(0, 360_000))
def test_a_tag_is_the_servers(seconds: float):
    assert frame_labels(1, [seconds]) == [f"Frame1 ({time_tag(seconds)}): "]
    assert tag_seconds(time_tag(seconds)) == int(seconds)


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=50), st.data())
def test_the_span_holds_the_frames_of_both_tags(steps: list[float], data: st.DataObject):
    times = [sum(steps[:count]) for count in range(len(steps))]
    first, last = sorted(data.draw(st.sampled_from(times), label=name) for name in ("first", "last"))
    span = span_of_tags(time_tag(last), time_tag(first), times, times[-1] + 1)
    assert span is not None
    assert span[0] <= first < span[1]
    assert last < span[1]
    assert span[0] in times
    assert int(times[bisect_right(times, span[1]) - 2]) == int(last) or span[1] == times[-1] + 1


@pytest.mark.parametrize("tag", ["", "12", "a:b", "00:12 and more", "1:2:3:4"])
def test_other_texts_are_no_tags(tag: str):
    assert tag_seconds(tag) is None
    assert span_of_tags(tag, "00:00", [0.0], 1.0) is None


def test_a_time_without_a_frame_is_no_span():
    assert span_of_tags("00:05", "00:07", [0.0, 10.0], 11.0) is None
