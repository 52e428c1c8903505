"""The three videos show what the truth says, at the times that it says."""

import json
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from bench.video_answers import material


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "FOLDER", tmp_path_factory.mktemp("bench"))
        patch.setattr(material, "SIZE", (320, 180))
        return material.make_material(0.2, 1, Console(quiet=True))


def pictures(path: Path) -> dict[float, np.ndarray]:
    """All frames of a video by their times in seconds."""
    with av.open(path) as file:
        return {
            float(frame.time): frame.to_ndarray(format="gray")[::2, ::2] for frame in file.decode(video=0)
        }


def test_the_twin_differs_while_the_event_lasts(folder: Path):
    (event,) = json.loads((folder / material.TRUTH).read_text())
    shown, empty = pictures(folder / "events.mp4"), pictures(folder / "empty.mp4")
    assert shown.keys() == empty.keys()
    for time, picture in shown.items():
        differs = np.abs(picture.astype(int) - empty[time]).max() > 60
        assert differs == (event["start"] <= time < event["end"]), time


def test_the_varied_twin_has_no_rate(folder: Path):
    times = list(material.frame_times("varied", 12.0))
    steps = {round(later - earlier, 3) for earlier, later in pairwise(times)}
    assert len(steps) > 2
    assert list(pictures(folder / "varied.mp4")) == pytest.approx(times)
