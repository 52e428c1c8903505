"""The frames of a request are spread as asked, ascend, and are there once."""

from hypothesis import given
from hypothesis import strategies as st

from clients.video_jobs.requests.choosing import filled, frames_between, shown_at, thinned, uniform

TIMES = st.lists(st.floats(0.01, 10), min_size=1, max_size=200).map(
    lambda steps: [sum(steps[:count]) for count in range(len(steps))]
)


@given(TIMES, st.integers(1, 80), st.floats(0.01, 0.99))
def test_uniform_frames(times: list[float], count: int, phase: float):
    end = times[-1] + 1
    chosen = uniform(times, count, 0.0, end, phase=phase)
    assert list(chosen) == sorted(set(chosen))
    assert 1 <= len(chosen) <= count
    assert len(times) > count or len(chosen) == len(times)
    if len(times) > count:
        # Wherever one looks, the nearest chosen frame is no farther than a part and the frame shown there.
        for time in times:
            assert min(abs(times[number] - time) for number in chosen) <= end / count + 10


def test_uniform_frames_of_a_part():
    times = [float(second) for second in range(100)]
    assert uniform(times, 4, 20.0, 60.0) == (25, 35, 45, 55)
    assert uniform(times, 4, 20.0, 23.0) == (20, 21, 22)
    assert uniform(times, 4, 20.2, 20.7) == (20,)
    assert uniform(times, 2, 0.0, 100.0, phase=0.0) == (0, 50)


def test_a_time_between_frames_shows_the_one_before():
    assert frames_between([0.0, 10.0, 20.0], 12.0, 15.0) == range(1, 2)
    assert shown_at([0.0, 10.0], 9.9995) == 1  # times are rounded to a millisecond
    assert shown_at([5.0], 0.0) == 0


@given(st.lists(st.integers(0, 500), unique=True).map(sorted), st.integers(1, 100))
def test_thinned_numbers_keep_their_order(numbers: list[int], count: int):
    kept = thinned(numbers, count)
    assert list(kept) == sorted(set(kept))
    assert len(kept) == min(count, len(numbers))


@given(st.lists(st.integers(0, 50)), st.sets(st.integers(0, 50), max_size=10), st.integers(10, 40))
def test_anchors_always_stay(preferred: list[int], anchors: set[int], count: int):
    frames = filled(preferred, sorted(anchors), count)
    assert anchors <= set(frames)
    assert len(frames) <= count
    room = count - len(anchors)
    assert set(dict.fromkeys(number for number in preferred if number not in anchors)) <= set(frames) or (
        len(frames) - len(anchors) == room
    )
