"""Frames that a client has extracted are read with the times that it says, or refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model.images.tiling import TilingConfig, tile_image
from model.video.extracted import ExtractedFrames, FrameTiming
from model.video.file import VideoError
from model.video.frames import FrameRequest
from model.video.tiles import Video, read_extracted
from tests.videos import picture

ALL = FrameRequest(None)
TILING = TilingConfig(56, 1, 1, use_thumbnail=False)


def jpeg(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(number, (256, 192))).resize(size).save(file, "JPEG")
    return file.getvalue()


def read(
    folder: Path,
    frames: list[bytes],
    request: FrameRequest = ALL,
    **timing: Any,
) -> Video:
    path = folder / "frames"
    path.write_bytes(b"".join(frames))
    extracted = ExtractedFrames(
        sizes=tuple(map(len, frames)), timing=FrameTiming(**timing), max_pixels=64 * 48
    )
    return read_extracted(path, extracted, request, TILING, limit=512)


@pytest.mark.parametrize(
    ("timing", "expected", "duration", "total"),
    [
        ({}, [0, 1, 2, 3], 4, 4),  # as vLLM: one frame in a second
        ({"fps": 2.0}, [0, 0.5, 1, 1.5], 2, 4),
        (
            {"fps": 30.0, "frames_indices": (15, 60, 300, 599), "total_num_frames": 600},
            [0.5, 2, 10, 19.9667],
            20,
            600,
        ),
        (
            {"duration": 20.0, "frames_indices": (15, 60, 300, 599), "total_num_frames": 600},
            [0.5, 2, 10, 19.9667],
            20,
            600,
        ),
        ({"duration": 8.0}, [0, 2, 4, 6], 8, 4),
        (
            {"fps": 1.0, "duration": 100.0, "frames_indices": (1, 2, 3, 90), "total_num_frames": 100},
            [1, 2, 3, 90],
            100,
            100,
        ),
    ],
)
def test_their_times_are_those_that_the_client_says(
    tmp_path: Path, timing: dict[str, Any], expected: list[float], duration: float, total: int
):
    frames = [jpeg(number) for number in range(4)]
    video = read(tmp_path, frames, **timing)
    assert video.times_F.tolist() == pytest.approx(expected, abs=1e-4)
    assert (video.duration, video.total_frames, video.width, video.height) == (duration, total, 64, 48)
    tiles = [tile_image(Image.open(io.BytesIO(frame)), TILING) for frame in frames]
    np.testing.assert_array_equal(video.tiles, np.stack(tiles))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (FrameRequest(2), [2, 6]),
        (FrameRequest(None, start=1.0, end=2.0), [2, 3, 4]),
        (FrameRequest(times=(0.6, 3.0)), [1, 6]),
    ],
)
def test_some_of_them_can_be_chosen(tmp_path: Path, request_: FrameRequest, expected: list[int]):
    frames = [jpeg(number) for number in range(9)]
    video = read(tmp_path, frames, request_, fps=2.0)
    assert (video.times_F * 2).tolist() == expected
    tiles = [tile_image(Image.open(io.BytesIO(frames[number])), TILING) for number in expected]
    np.testing.assert_array_equal(video.tiles, np.stack(tiles))


@pytest.mark.parametrize(
    ("timing", "message"),
    [
        ({"frames_indices": (0, 1)}, "frames_indices holds 2 numbers, but 3 frames were sent"),
        ({"frames_indices": (0, 2, 2), "total_num_frames": 9}, "must ascend"),
        ({"frames_indices": (2, 1, 3), "total_num_frames": 9}, "must ascend"),
        ({"frames_indices": (0, 1, 9), "total_num_frames": 9}, "index 9, but the video has 9 frames"),
        ({"total_num_frames": 2}, "index 2, but the video has 2 frames"),
        ({"fps": 1.0, "duration": 1.0}, "shown at 2 s, but the video lasts 1 s"),
    ],
)
def test_times_that_cannot_be_true(tmp_path: Path, timing: dict[str, Any], message: str):
    with pytest.raises(VideoError, match=message):
        read(tmp_path, [jpeg(number) for number in range(3)], **timing)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "Frame 1 of the video: The image could not be read"),
        (b"no image", "Frame 1 of the video: The image could not be read"),
        (jpeg(1)[:-200], "Frame 1 of the video: The image is damaged"),
        (jpeg(1, (65, 48)), "Frame 1 of the video: The image has more than 3072 pixels"),
    ],
)
def test_each_frame_is_checked_as_an_image_is(tmp_path: Path, frame: bytes, message: str):
    with pytest.raises(VideoError, match=message):
        read(tmp_path, [jpeg(0), frame, jpeg(2)])


def test_frames_of_another_size_get_that_of_the_first(tmp_path: Path):
    video = read(tmp_path, [jpeg(0), jpeg(1, (32, 24))])
    assert video.tiles.shape == (2, 1, 56, 56, 3) and (video.width, video.height) == (64, 48)
