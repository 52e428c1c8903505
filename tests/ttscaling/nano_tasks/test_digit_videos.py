"""The digits of a video are where and when its events say."""

from itertools import pairwise

import numpy as np

from ttscaling.nano_tasks.digit_videos import (
    LEAST_GAP,
    LONGEST,
    SHORTEST,
    digit_video,
    picture_at,
    random_events,
)
from ttscaling.nano_tasks.digits import digit_pool
from ttscaling.nano_tasks.sheets import SIDE, SMALL_CELL


def test_events_are_apart_and_some_lie_on_edges():
    edges = [float(edge) for edge in range(39, 3561, 39)]
    events = random_events(np.random.default_rng(3), 3600, 60, edges)
    assert len(events) == 60
    for before, after in pairwise(events):
        assert after.start - before.end > LEAST_GAP
    assert all(SHORTEST - 0.02 <= event.end - event.start <= LONGEST + 0.02 for event in events)
    assert sum(any(event.start < edge < event.end for edge in edges) for event in events) >= 12
    assert events == random_events(np.random.default_rng(3), 3600, 60, edges)


def test_a_digit_is_shown_in_its_cell_while_its_event_lasts():
    rng = np.random.default_rng(5)
    (event,) = random_events(rng, 20, 1)
    video = digit_video(rng, digit_pool("heldout"), 20, [event])
    row, column = divmod(event.cell, SIDE)
    inside = np.zeros((SIDE * SMALL_CELL,) * 2, bool)
    inside[row * SMALL_CELL :, column * SMALL_CELL :][:SMALL_CELL, :SMALL_CELL] = True
    for time in (event.start - 0.1, event.start, event.end - 0.1, event.end):
        pictures = [np.asarray(picture_at(video, time, with_events=shown)) for shown in (True, False)]
        differs = (pictures[0] != pictures[1]).any(axis=-1)
        assert differs.any() == (event.start <= time < event.end)
        assert not (differs & ~inside).any()
