"""The pixels of every chosen frame equal those of a decode from the first frame to the last."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.images.tiling import TilingConfig, tile_image
from model.video.file import VideoError
from model.video.frames import FrameRequest, segment_midpoints
from model.video.tiles import Backend, Video, read_video
from tests.videos import (
    CLIPS,
    FRAMES,
    RATE,
    SIZE,
    VARIED,
    Clip,
    number_of,
    numbers,
    overwrite,
    read,
    sequential,
    trim,
    write_video,
)

DAMAGED = ["plain.mp4", "plain.mkv", "plain.ts", "vp9.webm"]


def assert_exact(video: Video, path: Path, indices: list[int]) -> None:
    frames = sequential(path)
    assert numbers(video) == [number_of(frames[index]) for index in indices]
    np.testing.assert_array_equal(video.tiles[:, 0], np.stack([frames[index] for index in indices]))
    assert video.missing == 0


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("num_frames", [8, FRAMES])
def test_frames_are_those_of_a_sequential_decode(clip: Clip, name: str, num_frames: int):
    video = read(clip(name), num_frames)
    indices = segment_midpoints(FRAMES, num_frames).tolist() if num_frames < FRAMES else list(range(FRAMES))
    assert_exact(video, clip(name), indices)
    assert numbers(video) == indices
    times = np.array(CLIPS[name].get("times", np.arange(FRAMES) / RATE))
    np.testing.assert_allclose(video.times_F, (times - times[0])[indices], atol=0.001)
    assert (video.total_frames, video.width, video.height, video.backend) == (FRAMES, *SIZE, "pyav")


@pytest.mark.parametrize("name", CLIPS)
def test_keyframes_are_exact_too(clip: Clip, name: str):
    video = read(clip(name), 6, mode="keyframe")
    chosen = numbers(video)
    assert_exact(video, clip(name), chosen)
    assert chosen == sorted(set(chosen)) and len(chosen) <= 6
    # There is a keyframe near every chosen frame, because every 30th frame is one.
    assert max(np.diff([*chosen, FRAMES - 1])) <= 60


@pytest.mark.parametrize("name", ["varied.mp4", "varied.mkv"])
def test_a_rate_counts_by_time(clip: Clip, name: str):
    video = read(clip(name), None, fps=2)
    times = np.array(VARIED) - VARIED[0]
    on_screen = {int(np.flatnonzero(times <= tick + 0.001)[-1]) for tick in np.arange(0, times[-1], 0.5)}
    assert numbers(video) == sorted(on_screen)
    assert_exact(video, clip(name), numbers(video))


@pytest.mark.parametrize("name", ["plain.mp4", "varied.mp4", "varied.mkv", "open.ts", "vp9.webm"])
def test_times_and_a_part_of_the_video(clip: Clip, name: str):
    """The frames are exact, and their times are those in the file."""
    shown = np.array(CLIPS[name].get("times", np.arange(FRAMES) / RATE))
    shown = shown - shown[0]
    moments = [float(shown[70]) - 0.004, float(shown[5]) + 0.004, float(shown[70])]
    video = read(clip(name), None, times=tuple(moments))
    assert numbers(video) == [5, 69, 70]
    np.testing.assert_allclose(video.times_F, shown[[5, 69, 70]], atol=0.001)
    assert_exact(video, clip(name), [5, 69, 70])
    part = read(clip(name), 4, start=float(shown[40]), end=float(shown[80]))
    assert_exact(part, clip(name), [40 + index for index in segment_midpoints(41, 4)])


def test_keyframes_of_a_part_lie_in_it(clip: Clip):
    """Every 30th frame is a keyframe; the nearest one to frame 31 would be 30."""
    part = read(clip("plain.mp4"), 8, mode="keyframe", start=31 / RATE, end=75 / RATE)
    assert numbers(part) == [60]
    without = read(clip("plain.mp4"), 8, mode="keyframe", start=33 / RATE, end=43 / RATE)
    assert numbers(without) == [30], "there is none between them, so the nearest one is taken"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": 4.0}, "start is 4 s, but the video ends at 3 s"),
        ({"times": (1.0, 3.5)}, r"times\[1\] is 3.5"),
    ],
)
def test_what_lies_behind_the_end_is_refused(clip: Clip, fields: dict, message: str):
    with pytest.raises(VideoError, match=message):
        read(clip("plain.mp4"), None, **fields)


@pytest.mark.parametrize("name", ["plain.mp4", "plain.ts", "vp9.webm"])
def test_duration(clip: Clip, name: str):
    assert read(clip(name)).duration == pytest.approx(FRAMES / RATE, abs=0.02)


def test_frames_that_an_edit_list_hides_are_never_chosen(clip: Clip, tmp_path: Path):
    cut = trim(clip("plain.mp4"), tmp_path / "cut.mp4", 1.4)
    shown_numbers = [number_of(frame) for frame in sequential(cut)]
    assert shown_numbers[0] == 42  # The copy starts with frame 30, the keyframe before it.
    video = read(cut, 10)
    assert video.total_frames == len(shown_numbers)
    assert video.times_F[0] == pytest.approx(segment_midpoints(len(shown_numbers), 10)[0] / RATE)
    assert_exact(video, cut, segment_midpoints(len(shown_numbers), 10).tolist())


def test_without_a_shown_keyframe_the_exact_frames_are_taken(clip: Clip, tmp_path: Path):
    cut = trim(clip("plain.mp4"), tmp_path / "cut.mp4", 2.2)
    assert numbers(read(cut, 3, mode="keyframe")) == numbers(read(cut, 3)) == [69, 77, 84]


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_rotation(tmp_path: Path, rotation: int, backend: Backend):
    path = write_video(tmp_path / "turned.mp4", 20, size=(128, 96), rotation=rotation)
    side = TilingConfig(64, 1, 12, use_thumbnail=False)
    video = read_video(path, FrameRequest(3), side, limit=9, backend=backend)
    upright = [np.rot90(sequential(path)[index], rotation // 90) for index in segment_midpoints(20, 3)]
    assert (video.height, video.width) == upright[0].shape[:2]
    expected = np.stack([tile_image(Image.fromarray(frame), side) for frame in upright])
    np.testing.assert_array_equal(video.tiles, expected)


def test_tiles_and_thumbnail_of_each_frame(tmp_path: Path):
    path = write_video(tmp_path / "wide.mp4", 12, size=(192, 96))
    tiling = TilingConfig(32, 1, 6, use_thumbnail=True)
    video = read_video(path, FrameRequest(5), tiling, limit=4)
    frames = [sequential(path)[index] for index in segment_midpoints(12, 4)]
    expected = np.stack([tile_image(Image.fromarray(frame), tiling) for frame in frames])
    assert expected.shape == (4, 3, 32, 32, 3)
    np.testing.assert_array_equal(video.tiles, expected)


def test_a_stream_that_changes_its_resolution_keeps_one_grid(tmp_path: Path):
    # Two MPEG-TS files can be concatenated; the times of the second one continue those of the first.
    first = write_video(tmp_path / "first.ts", 30)
    second = write_video(tmp_path / "second.ts", 30, size=(256, 128), container={"output_ts_offset": "2"})
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    video = read_video(both, FrameRequest(10), TilingConfig(SIZE[0], 1, 6, False), limit=99)
    assert video.tiles.shape == (10, 1, SIZE[1], SIZE[0], 3)
    assert (video.width, video.height, video.total_frames) == (*SIZE, 60)


@pytest.mark.parametrize("name", DAMAGED)
def test_the_frames_of_a_truncated_file_are_used(clip: Clip, tmp_path: Path, name: str):
    complete = clip(name)
    if name == "plain.mp4":  # Its index must come first, or no frame could be read.
        complete = write_video(tmp_path / "complete.mp4", FRAMES, container={"movflags": "faststart"})
    part = tmp_path / name
    part.write_bytes(complete.read_bytes()[: int(complete.stat().st_size * 0.6)])
    video = read(part, 16)
    assert 30 < video.total_frames < 80
    expected = segment_midpoints(video.total_frames, 16).tolist()
    chosen = numbers(video)
    assert set(chosen) <= set(expected) and len(chosen) == 16 - video.missing >= 14
    frames = sequential(complete)
    np.testing.assert_array_equal(video.tiles[:-1, 0], np.stack([frames[n] for n in chosen[:-1]]))


@pytest.mark.parametrize("name", DAMAGED)
def test_a_hole_costs_the_frames_that_depend_on_it(clip: Clip, tmp_path: Path, name: str):
    holed = overwrite(tmp_path / name, clip(name), [(0.4, 0.55)])
    video = read(holed, 30)
    assert len(video.tiles) == len(video.times_F) == 30 - video.missing
    frames = sequential(clip(name))
    is_exact = [
        np.array_equal(tile, frames[round(time * RATE)])
        for tile, time in zip(video.tiles[:, 0], video.times_F, strict=True)
    ]
    # Frames before the hole and from the next keyframe on are exact and have the right times.
    assert all(is_exact[:8]) and all(is_exact[-8:])


def test_a_video_without_a_frame_that_decodes_is_refused(tmp_path: Path):
    path = write_video(tmp_path / "blank.mp4", 20)
    data = path.read_bytes()
    pictures, headers = data.index(b"mdat") + 4, data.index(b"moov") - 4
    path.write_bytes(data[:pictures] + bytes(headers - pictures) + data[headers:])
    with pytest.raises(VideoError, match=r"None of the chosen frames.*damaged"):
        read(path)


def test_another_backend_is_refused(clip: Clip):
    with pytest.raises(VideoError, match="pyav or decord"):
        read(clip("plain.mp4"), backend="opencv")  # type: ignore[arg-type]
