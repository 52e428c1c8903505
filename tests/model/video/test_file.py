"""Files that are no video or exceed the bounds are refused with a reason that names no file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.video.file import VideoBounds, VideoError
from model.video.frames import FrameRequest
from model.video.tiles import read_video
from tests.videos import FRAMES, SIZE, TILING, Clip, numbers, picture, read, write_sound, write_video


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "no such video"),
        ("folder.mp4", "no such video"),
        ("empty.mp4", "not a video"),
        ("text.mp4", "not a video"),
        ("noise.mp4", "not a video"),
        ("headless.mp4", "not a video"),
        ("sound.mp4", "no video"),
        ("cover.mp4", "no video"),
        ("PNG.mp4", "not a video"),
        ("JPEG.mp4", "not a video"),
        ("GIF.mp4", "not a video"),
        ("list.m3u8", "not a video"),
        ("list.ffconcat", "not a video"),
        ("h264.avi", "AVI has no timestamps"),
        ("odd.mkv", "codec is not supported"),
    ],
)
def test_files_that_are_no_video_are_refused_with_a_reason(
    clip: Clip, tmp_path: Path, name: str, reason: str
):
    path, good = tmp_path / name, clip("plain.ts")
    match name:
        case "folder.mp4":
            path.mkdir()
        case "empty.mp4":
            path.touch()
        case "text.mp4":
            path.write_text("What is the sum of row 1?\n" * 100)
        case "noise.mp4":
            path.write_bytes(np.random.default_rng(0).bytes(100_000))
        case "headless.mp4":
            path.write_bytes(clip("plain.mp4").read_bytes()[:-3000])
        case "sound.mp4":
            write_sound(path)
        case "cover.mp4":
            write_sound(path, cover=picture(3))
        case "PNG.mp4" | "JPEG.mp4" | "GIF.mp4":
            Image.fromarray(picture(3)).save(path, format=path.stem)
        case "list.m3u8":
            path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{good}\n#EXT-X-ENDLIST\n")
        case "list.ffconcat":
            path.write_text(f"ffconcat version 1.0\nfile '{good}'\n")
        case "h264.avi":
            write_video(path, 20)
        case "odd.mkv":
            write_video(path, 20, codec="ffv1")
    for backend in ("pyav", "decord"):
        with pytest.raises(VideoError, match=reason) as refusal:
            read(path, backend=backend)
        assert str(tmp_path) not in str(refusal.value) and name not in str(refusal.value)


def test_names_are_not_addresses(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("concat:a.ts|b.ts").write_bytes(clip("plain.ts").read_bytes())
    assert read(Path("concat:a.ts|b.ts")).total_frames == FRAMES


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        (VideoBounds(max_pixels=SIZE[0] * SIZE[1] - 1), "128 x 128 pixels"),
        (VideoBounds(max_seconds=2.5), "longer than 2.5 seconds"),
        (VideoBounds(max_frames=FRAMES - 1), "more than 89 frames"),
    ],
)
def test_bounds(clip: Clip, bounds: VideoBounds, reason: str):
    for name in ("plain.mp4", "plain.ts"):
        with pytest.raises(VideoError, match=reason):
            read_video(clip(name), FrameRequest(), TILING, limit=9, bounds=bounds)
    exact = VideoBounds(SIZE[0] * SIZE[1], 3.1, FRAMES)
    assert read_video(clip("plain.mp4"), FrameRequest(), TILING, limit=9, bounds=exact).missing == 0


def test_later_frames_that_exceed_the_bound_are_left_out(tmp_path: Path):
    both = tmp_path / "both.ts"
    small = write_video(tmp_path / "small.ts", 30)
    large = write_video(tmp_path / "large.ts", 30, size=(384, 128), container={"output_ts_offset": "2"})
    both.write_bytes(small.read_bytes() + large.read_bytes())
    bounds = VideoBounds(max_pixels=SIZE[0] * SIZE[1])
    video = read_video(both, FrameRequest(10), TILING, limit=99, bounds=bounds)
    assert numbers(video) == [2, 8, 14, 20, 26] and video.missing == 5
