"""Files whose clock restarts: no part is lost, times grow, and seeks give the right frames of each part."""

from pathlib import Path

import av
import numpy as np
import pytest

from model.video.file import VideoBounds, VideoError, open_video
from model.video.frames import segment_midpoints
from tests.videos import CLIPS, RATE, X264, number_of, numbers, read, sequential, write_video

WRAP_SECONDS = 2**33 / 90000  # after which the clock of MPEG-TS begins again at 0
OPEN_GOPS = X264 | {"x264-params": "open-gop=1:b-adapt=0"}


def joined(path: Path, *parts: Path | bytes) -> Path:
    """Write these files one after the other into `path`, as `cat` does."""
    path.write_bytes(b"".join(part if isinstance(part, bytes) else part.read_bytes() for part in parts))
    return path


def later(source: Path, path: Path, seconds: float) -> Path:
    """Copy a transport stream so that its clock begins later."""
    with (
        av.open(source) as read_from,
        av.open(path, "w", options={"output_ts_offset": str(seconds)}) as write,
    ):
        stream = read_from.streams.video[0]
        copy = write.add_stream_from_template(stream)
        for packet in read_from.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                write.mux(packet)
    return path


def assert_complete(path: Path, *lengths: int) -> None:
    """Check all frames of the parts, then a few of them, which takes seeks into every part."""
    expected = [number for length in lengths for number in range(length)]
    video = read(path, 512)
    assert (numbers(video), video.missing) == (expected, 0)
    assert np.diff(video.times_F) == pytest.approx(1 / RATE, abs=0.0011)
    assert video.duration == pytest.approx(len(expected) / RATE, abs=0.01)
    frames = [frame for frame in sequential(path) if frame is not None]
    for few in (1, 3, 7):
        video = read(path, few)
        chosen = segment_midpoints(len(expected), few)
        assert numbers(video) == [expected[index] for index in chosen]
        np.testing.assert_array_equal(video.tiles[:, 0], np.stack([frames[index] for index in chosen]))


@pytest.mark.parametrize(
    "name", ["plain.ts", "mpeg2.ts", "open.ts", "plain.mkv", "vp8.webm", "mpeg4.avi", "hevc.ts"]
)
def test_two_files_strung_together_have_the_frames_of_both(tmp_path: Path, name: str):
    settings = {**CLIPS, "hevc.ts": CLIPS["hevc.mp4"]}[name]
    first = write_video(tmp_path / f"first-{name}", 30, **settings)
    second = write_video(tmp_path / f"second-{name}", 75, **settings)
    assert_complete(joined(tmp_path / name, first, second), 30, 75)


def test_keyframes_of_all_parts_are_found(tmp_path: Path):
    first, second = write_video(tmp_path / "first.ts", 60), write_video(tmp_path / "second.ts", 90)
    video = read(joined(tmp_path / "both.ts", first, second, first), 50, mode="keyframe")
    assert numbers(video) == [0, 30, 0, 30, 60, 0, 30]
    assert video.times_F == pytest.approx([0, 1, 2, 3, 4, 5, 6], abs=0.01)


@pytest.mark.parametrize(
    ("first_starts", "second_starts"), [(1000, 0), (WRAP_SECONDS - 1, 0), (0, WRAP_SECONDS - 1), (40, 39)]
)
def test_the_second_clock_may_be_anywhere(tmp_path: Path, first_starts: float, second_starts: float):
    """FFmpeg takes a clock that begins more than a minute earlier for one that has wrapped around."""
    plain = write_video(tmp_path / "plain.ts", 45)
    first = later(plain, tmp_path / "first.ts", first_starts)
    second = later(plain, tmp_path / "second.ts", second_starts)
    both = joined(tmp_path / "both.ts", first, second)
    assert_complete(both, 45, 45)


def test_a_clock_that_wraps_around_is_no_restart(tmp_path: Path):
    wrapping = later(write_video(tmp_path / "plain.ts", 90), tmp_path / "wrapping.ts", WRAP_SECONDS - 1.5)
    assert_complete(wrapping, 90)
    with open_video(wrapping, VideoBounds()) as file:
        assert file.parts == ()


def test_the_head_of_a_part_that_begins_between_keyframes_is_left_out(tmp_path: Path):
    """Its frames depend on a keyframe that isn't in the file. They must not hide frames of the first part."""
    first = write_video(tmp_path / "first.ts", 75)
    second = write_video(tmp_path / "second.ts", 90, options=OPEN_GOPS)
    packets = second.read_bytes()
    head = joined(tmp_path / "head.ts", packets[len(packets) // 5 // 188 * 188 :])
    shown = [number_of(frame) for frame in sequential(head)]
    kept = [number for number in shown if number >= 30]  # from the first keyframe on
    video = read(joined(tmp_path / "both.ts", first, head), 512)
    assert numbers(video)[:75] == list(range(75))
    assert set(numbers(video)[75:]) <= set(range(29, 90)) and len(kept) - 2 <= len(numbers(video)) - 75
    assert np.all(np.diff(video.times_F) > 0)


def test_decord_gets_no_file_whose_clock_restarts(tmp_path: Path):
    pytest.importorskip("decord", reason="decord is installed on request only")
    clip = write_video(tmp_path / "clip.mkv", 30)
    with pytest.raises(VideoError, match="Use the backend pyav"):
        read(joined(tmp_path / "both.mkv", clip, clip), backend="decord")
