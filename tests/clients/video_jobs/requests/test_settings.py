"""Settings fit together by default, and what can't be is refused."""

import pytest

from clients.video_jobs.requests.settings import AskSettings


def test_anchors_and_overlaps_leave_room():
    assert (AskSettings().anchor_count, AskSettings().overlap) == (24, 6)
    assert AskSettings(num_frames=8).anchor_count == 4
    assert AskSettings(segment_seconds=12).overlap == 4
    assert (AskSettings(anchors=0).anchor_count, AskSettings(overlap_seconds=0).overlap) == (0, 0)


@pytest.mark.parametrize(
    "values, part",
    [
        ({"num_frames": 0}, "at least 1 frame"),
        ({"anchors": -1}, "can't be negative"),
        ({"segment_seconds": 1}, "from 2 to 600 seconds"),
        ({"overlap_seconds": -1}, "can't be negative"),
        ({"parallel": 0}, "at least 1 request"),
        ({"evidence_sets": 1}, "2 sets"),
    ],
)
def test_what_cannot_be_is_refused(values: dict, part: str):
    with pytest.raises(ValueError, match=part):
        AskSettings(**values)
