"""Videos are accepted in many forms and read into clips, and others are refused."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from vllm.multimodal.parse import MultiModalDataParser

from model.plugin.inputs.media_items import ClipItems, Frame, FrameItems, InternVLDataParser, read_clip

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
TILES = np.random.default_rng(1).integers(0, 256, (3, 2, 8, 8, 3), dtype=np.uint8)
IMAGES = [Image.fromarray(frame) for frame in FRAMES]


def parse(video: Any) -> Any:
    return InternVLDataParser().parse_mm_data({"video": video})["video"]


@pytest.mark.parametrize(
    "video",
    [
        FRAMES,
        IMAGES,
        list(FRAMES),
        torch.from_numpy(FRAMES),
        (FRAMES, None),
        (IMAGES, {}),
        (FRAMES, {"fps": 2}),
    ],
)
def test_frames_come_in_many_containers(video: Any):
    items = parse(video)
    assert isinstance(items, ClipItems)
    (clip,) = items.get_all()
    assert clip.times_F is None
    assert [frame.is_cut for frame in clip.frames] == [False] * 3
    assert all(np.array_equal(got.pixels, frame) for got, frame in zip(clip.frames, FRAMES, strict=True))


def test_tiles_may_be_cut_already():
    (clip,) = parse((TILES, {"times": [0, 1.5, 3]})).get_all()
    assert clip.times_F == (0, 1.5, 3)
    assert [frame.is_cut for frame in clip.frames] == [True] * 3
    assert all(np.array_equal(got.pixels, tiles) for got, tiles in zip(clip.frames, TILES, strict=True))


def test_several_videos_are_a_list():
    clips = parse([FRAMES, (TILES, {"times": [1, 2, 3]}), IMAGES[:1]]).get_all()
    assert [len(clip.frames) for clip in clips] == [3, 3, 1]
    assert len(parse([])) == 0


def test_each_frame_is_one_item():
    frames = [Frame(FRAMES[0]), Frame(TILES[0])]
    items = parse(frames)
    assert isinstance(items, FrameItems)
    assert items.get_all() == frames
    assert np.array_equal(items.get_item_for_hash(1), TILES[0])


def test_frames_in_other_modes_become_rgb():
    grey = Image.fromarray(FRAMES[0, :, :, 0])
    assert read_clip([grey]).frames[0].pixels.shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (FRAMES[:0], "at least one frame"),
        (([], None), "at least one frame"),
        ((None, None), "frames or tiles, not NoneType"),
        (FRAMES.astype(np.float32), "uint8 frames .* float32"),
        (np.zeros((2, 3, 20, 30), dtype=np.uint8), r"each frame of this one is uint8 \(3, 20, 30\)"),
        ([None], "each frame of this one is object"),
        ([IMAGES[0], IMAGES[1].resize((8, 8))], "the same size"),
        ((FRAMES, {"times": [0, 1]}), "each of its 3 frames, not 2 numbers"),
        ((FRAMES, {"times": [0, 1, float("nan")]}), "seconds from 0 on"),
        ((FRAMES, {"times": [-1, 0, 1]}), "seconds from 0 on"),
    ],
)
def test_other_videos_are_refused(video: Any, message: str):
    with pytest.raises(ValueError, match=message):
        parse(
            video if isinstance(video, tuple) else [video] if isinstance(video, np.ndarray) else (video, None)
        )


def turned(mode: str, orientation: int) -> Image.Image:
    image = Image.fromarray(FRAMES[0]).convert(mode)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("is_list", [False, True])
def test_images_are_those_of_vllm_and_are_copied_only_if_they_change(
    mode: str, orientation: int, is_list: bool
):
    image = turned(mode, orientation)
    images = [IMAGES[1], image] if is_list else image
    items = InternVLDataParser().parse_mm_data({"image": images})["image"]
    expected = MultiModalDataParser().parse_mm_data({"image": images})["image"]
    assert type(items) is type(expected) and len(items) == len(expected)
    for index in range(len(items)):
        assert np.array_equal(np.asarray(items.get(index)), np.asarray(expected.get(index)))
    assert (items.get(len(items) - 1) is image) == (mode == "RGB" and orientation == 1)


@pytest.mark.parametrize("exif", [b"Exif\0\0no EXIF at all", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_an_image_with_damaged_exif_stays_as_it_is(exif: bytes):
    """vLLM's parser lets it pass, too."""
    image = IMAGES[0].copy()
    image.info["exif"] = exif
    assert InternVLDataParser().parse_mm_data({"image": image})["image"].get(0) is image
