"""decord gives what PyAV gives, or refuses."""

import sys
from pathlib import Path

import numpy as np
import pytest

from model.video.file import VideoError
from tests.videos import FRAMES, Clip, read, trim, write_video


@pytest.mark.parametrize("name", ["plain.mp4", "plain.mov", "plain.mkv", "varied.mp4", "fragments.mp4"])
def test_decord_gives_the_same(clip: Clip, name: str):
    ours, theirs = read(clip(name)), read(clip(name), backend="decord")
    np.testing.assert_array_equal(ours.tiles, theirs.tiles)
    np.testing.assert_array_equal(ours.times_F, theirs.times_F)
    assert theirs.backend == "decord"


@pytest.mark.parametrize("name", ["plain.ts", "vp9.webm", "open.mp4", "refresh.mp4", "av1.mp4", "cut.mp4"])
def test_decord_is_not_given_what_it_reads_wrong(clip: Clip, tmp_path: Path, name: str):
    path = trim(clip("plain.mp4"), tmp_path / name, 1.4) if name == "cut.mp4" else clip(name)
    with pytest.raises(VideoError, match="Use the backend pyav"):
        read(path, backend="decord")


def test_decord_cut_off(tmp_path: Path):
    whole = write_video(tmp_path / "whole.mp4", FRAMES, container={"movflags": "faststart"})
    part = tmp_path / "part.mp4"
    part.write_bytes(whole.read_bytes()[:-5000])
    with pytest.raises(VideoError, match="Use the backend pyav"):
        read(part, backend="decord")


def test_decord_must_be_installed(clip: Clip, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(VideoError, match="not installed"):
        read(clip("plain.mp4"), backend="decord")
