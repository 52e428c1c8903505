"""The chosen frames are the published ones, and a rate chooses frames by their times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.video.frames import FrameRequest, choose_frames, nearest_keyframes, segment_midpoints


def published(total: int, num_segments: int) -> list[int]:
    """Return the result of `get_index` of OpenGVLab's model cards (InternVL2.5, InternVL3) for a video."""
    size = float(total - 1) / num_segments
    return [int(0 + size / 2 + np.round(size * k)) for k in range(num_segments)]


def every(count: int, rate: float = 30.0) -> np.ndarray:
    return np.arange(count) / rate


@pytest.mark.parametrize(
    ("total", "num_frames", "expected"),
    [
        (1, 1, [0]),
        (2, 1, [0]),
        (100, 1, [49]),
        (100, 4, [12, 37, 62, 86]),
        (90, 8, [5, 16, 27, 38, 49, 61, 72, 83]),
        (11, 4, [1, 3, 6, 9]),
        (4, 4, [0, 1, 2, 2]),
        (3, 6, [0, 0, 1, 1, 1, 2]),
    ],
)
def test_midpoints_by_hand(total: int, num_frames: int, expected: list[int]):
    assert segment_midpoints(total, num_frames).tolist() == expected


@given(total=st.integers(1, 200_000), num_frames=st.integers(1, 600))
def test_midpoints_are_the_published_ones(total: int, num_frames: int):
    indices = segment_midpoints(total, num_frames)
    assert indices.dtype == np.int64
    assert indices.tolist() == published(total, num_frames)
    assert indices[0] >= 0 and indices[-1] < total


@given(total=st.integers(1, 3000), num_frames=st.integers(1, 600), limit=st.integers(1, 600))
def test_frames_are_distinct_and_within_the_limit(total: int, num_frames: int, limit: int):
    chosen = choose_frames(every(total), FrameRequest(num_frames), limit=limit)
    assert len(chosen) == min(total, num_frames, limit)
    assert (np.diff(chosen) > 0).all()
    if total > num_frames and limit >= num_frames:
        assert chosen.tolist() == published(total, num_frames)


def test_a_short_video_gives_all_frames():
    assert choose_frames(every(4), FrameRequest(4), limit=9).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rate", "fps", "expected"),
    [
        (30, 30, list(range(30))),
        (30, 1000000, list(range(30))),
        (30, 15, list(range(0, 30, 2))),
        (30, 1, [0]),
        (30, 0.001, [0]),
        (25, 10, [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27]),
    ],
)
def test_rates(rate: float, fps: float, expected: list[int]):
    assert choose_frames(every(30, rate), FrameRequest(None, fps), limit=99).tolist() == expected


def test_a_rate_takes_the_frame_that_is_on_screen_at_each_tick():
    times = np.array([0, 0.1, 0.2, 3.0, 3.4, 7.9, 8.0])
    # The ticks are at 0, 1, ... 8 seconds.
    assert choose_frames(times, FrameRequest(None, 1), limit=99).tolist() == [0, 2, 3, 4, 6]


def test_timestamps_rounded_to_milliseconds_lose_no_frame():
    times = np.round(every(300), 3)
    assert choose_frames(times, FrameRequest(None, 30), limit=999).tolist() == list(range(300))
    assert choose_frames(times, FrameRequest(None, 10), limit=999).tolist() == list(range(0, 300, 3))


@pytest.mark.parametrize(("num_frames", "limit"), [(5, 99), (99, 5), (None, 5)])
def test_a_rate_is_thinned_evenly(num_frames: int | None, limit: int):
    chosen = choose_frames(every(300), FrameRequest(num_frames, 10), limit=limit)
    assert chosen.tolist() == [3 * index for index in published(100, 5)]


def test_without_rate_and_number_there_are_as_many_as_allowed():
    assert choose_frames(every(300), FrameRequest(None), limit=7).tolist() == published(300, 7)


@pytest.mark.parametrize(
    ("chosen", "keyframes", "expected"),
    [
        ([0, 14, 16, 29], [0, 30], [0, 30]),
        ([15], [0, 30], [0]),  # Halfway between two keyframes, the earlier one is taken.
        ([1, 44, 46, 89], [0, 30, 60], [0, 30, 60]),
        ([3, 50, 70], [20], [20]),
        ([3], [20, 40], [20]),
    ],
)
def test_nearest_keyframes(chosen: list[int], keyframes: list[int], expected: list[int]):
    assert nearest_keyframes(np.array(chosen), np.array(keyframes), every(90)).tolist() == expected


def test_nearest_is_by_time():
    times = np.array([0.0, 1.0, 1.1, 1.2, 1.3])
    assert nearest_keyframes(np.array([1]), np.array([0, 4]), times).tolist() == [4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_frames": 0},
        {"num_frames": -3},
        {"fps": 0.0},
        {"fps": -1.0},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"mode": "fast"},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FrameRequest(**wrong)


@pytest.mark.parametrize(("total", "limit"), [(0, 5), (5, 0)])
def test_a_choice_needs_a_frame_and_a_limit(total: int, limit: int):
    with pytest.raises(ValueError, match="at least 1"):
        choose_frames(every(total), FrameRequest(), limit=limit)


@pytest.mark.parametrize(("total", "num_frames"), [(0, 1), (1, 0)])
def test_midpoints_need_a_frame_and_a_segment(total: int, num_frames: int):
    with pytest.raises(ValueError, match="at least 1"):
        segment_midpoints(total, num_frames)


def test_nearest_keyframes_need_a_keyframe():
    with pytest.raises(ValueError, match="no keyframes"):
        nearest_keyframes(np.array([0]), np.array([], np.int64), every(3))


def test_start_and_end_are_the_published_bound():
    """With a constant rate: `get_index` of the model cards with `bound=(2, 6)`."""
    size = float(180 - 60) / 8
    published_bound = [int(60 + size / 2 + np.round(size * k)) for k in range(8)]
    chosen = choose_frames(every(300), FrameRequest(8, start=2, end=6), limit=512)
    assert chosen.tolist() == published_bound


@given(
    gaps=st.lists(st.floats(0.02, 3), min_size=1, max_size=80),
    start=st.floats(0, 60),
    length=st.floats(0.1, 60),
    num_frames=st.integers(1, 40),
    fps=st.none() | st.floats(0.1, 30),
)
def test_chosen_frames_lie_between_start_and_end(gaps, start, length, num_frames, fps):
    times = np.cumsum([0.0, *gaps])
    start = min(start, float(times[-1]))
    request = FrameRequest(num_frames, fps, start=start, end=start + length)
    chosen = times[choose_frames(times, request, limit=512)]
    inside = times[(times >= start - 0.001) & (times <= start + length + 0.001)]
    if len(inside):
        assert set(chosen) <= set(inside)
        assert fps is not None or len(chosen) == min(num_frames, len(inside))
    else:
        assert chosen.tolist() == [times[times <= start][-1]], "the frame that is on the screen"


def test_a_rate_counts_from_start():
    chosen = choose_frames(every(300), FrameRequest(None, 2, start=3.25, end=5), limit=512)
    assert (every(300)[chosen] - 3.2667).round(2).tolist() == [0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((0,), [0]),
        ((0.99,), [0]),
        ((1.0, 4.9, 5.0), [1, 1, 2]),
        ((9.0, 1.0), [1, 3]),  # in the order of the video
        ((10.0,), [3]),  # the video's last moment
        ((2.9999, 5.0004), [1, 2]),
    ],
)
def test_times_choose_the_frames_that_are_shown_then(times: tuple[float, ...], expected: list[int]):
    shown = np.array([0.0, 1.0, 5.0, 7.0])
    chosen = choose_frames(shown, FrameRequest(times=times), limit=9, duration=10.0)
    assert chosen.tolist() == sorted(set(expected))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": -1}, "start must be"),
        ({"end": float("inf")}, "end must be"),
        ({"start": 3, "end": 3}, "end must be after start, which is 3, not 3"),
        ({"times": ()}, "at least one"),
        ({"times": (1.0, float("nan"))}, r"times\[1\] must be"),
        ({"times": (1.0,), "fps": 2}, "can't be combined"),
        ({"times": (1.0,), "start": 2.0}, "can't be combined"),
    ],
)
def test_choices_that_mean_nothing(fields: dict, message: str):
    with pytest.raises(ValueError, match=message):
        FrameRequest(**fields)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (FrameRequest(start=10.1), "start is 10.1 s, but the video ends at 10 s"),
        (FrameRequest(times=(1.0, 99.0)), r"times\[1\] is 99 s"),
        (FrameRequest(times=tuple(map(float, range(10)))), "10 numbers, more than the limit of 9"),
    ],
)
def test_choices_outside_the_video(request_: FrameRequest, message: str):
    with pytest.raises(ValueError, match=message):
        choose_frames(every(10, 1), request_, limit=9, duration=10.0)


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (FrameRequest(), 32),
        (FrameRequest(900), 512),
        (FrameRequest(None), 512),
        (FrameRequest(times=(1, 2)), 2),
    ],
)
def test_the_most_frames_that_a_request_can_get(request_: FrameRequest, wanted: int):
    assert request_.num_wanted(512) == wanted
