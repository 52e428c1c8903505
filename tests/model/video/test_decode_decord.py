"""decord gives the same frames as PyAV, or the video is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from model.video.file import VideoError
from tests.videos import FRAMES, Clip, read, trim, write_video


@pytest.mark.parametrize("name", ["plain.mp4", "plain.mov", "plain.mkv", "varied.mp4", "fragments.mp4"])
def test_decord_gives_the_same(clip: Clip, name: str):
    with_pyav, with_decord = read(clip(name)), read(clip(name), backend="decord")
    np.testing.assert_array_equal(with_pyav.tiles, with_decord.tiles)
    np.testing.assert_array_equal(with_pyav.times_F, with_decord.times_F)
    assert with_decord.backend == "decord"


@pytest.mark.parametrize("name", ["plain.ts", "vp9.webm", "open.mp4", "refresh.mp4", "av1.mp4", "cut.mp4"])
def test_videos_that_decord_reads_wrongly_are_refused(clip: Clip, tmp_path: Path, name: str):
    path = trim(clip("plain.mp4"), tmp_path / name, 1.4) if name == "cut.mp4" else clip(name)
    with pytest.raises(VideoError, match="Use the backend pyav"):
        read(path, backend="decord")


def test_decord_refuses_a_truncated_file(tmp_path: Path):
    complete = write_video(tmp_path / "complete.mp4", FRAMES, container={"movflags": "faststart"})
    part = tmp_path / "part.mp4"
    part.write_bytes(complete.read_bytes()[:-5000])
    with pytest.raises(VideoError, match="Use the backend pyav"):
        read(part, backend="decord")


def test_decord_must_be_installed(clip: Clip, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(VideoError, match="not installed"):
        read(clip("plain.mp4"), backend="decord")
