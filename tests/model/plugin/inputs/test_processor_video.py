"""Videos pass through vLLM's processing as items, lines of the prompt, and cache entries for each frame."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.images.tiling import TilingConfig, tile_image
from tests.checkpoints import MAX_TILES, TILE
from tests.model.plugin.inputs.test_processor import noise

FRAMES = np.random.default_rng(3).integers(0, 256, (3, 90, 160, 3), dtype=np.uint8)


def process(
    processor: Any, prompt: str, video: Any, images: Any = (), cache: Any = None, **options: object
) -> Any:
    data = {"video": video} | ({"image": list(images)} if images else {})
    items = processor.info.parse_mm_data(data)
    return processor(prompt, items, hf_processor_mm_kwargs=options, cache=cache)


def tiles(output: Any) -> list[torch.Tensor]:
    return [item["video_tiles"].data for item in output["mm_kwargs"]["video"]]


def cut(frame: np.ndarray, most: int) -> torch.Tensor:
    return torch.from_numpy(
        tile_image(Image.fromarray(frame), TilingConfig(TILE, 1, most, use_thumbnail=True))
    )


def decoded(processor: Any, output: Any) -> str:
    text = processor.info.get_tokenizer().decode(output["prompt_token_ids"])
    return text.replace("<IMG_CONTEXT>" * 4, "#")


def test_a_frame_is_one_tile(processor: Any):
    output = process(processor, "See <video>\nWell?", FRAMES, v2pe_delta=0.5)
    assert decoded(processor, output) == (
        "See Frame1: <img>#</img>\nFrame2: <img>#</img>\nFrame3: <img>#</img>\nWell?"
    )
    assert all(torch.equal(got, cut(frame, 1)) for got, frame in zip(tiles(output), FRAMES, strict=True))
    context = processor.info.image_tokens.context
    for slot in output["mm_placeholders"]["video"]:
        span = output["prompt_token_ids"][slot.offset : slot.offset + slot.length]
        assert span == [context] * 4
        assert slot.get_num_embeds() == 4
    assert [item["v2pe_delta"].data.item() for item in output["mm_kwargs"]["v2pe"]] == [0.5]


def test_frames_may_have_more_tiles(processor: Any):
    output = process(processor, "<video>", FRAMES, video_max_dynamic_patch=4, max_dynamic_patch=1)
    assert [len(t) for t in tiles(output)] == [3, 3, 3]  # The grid has 2 x 1 tiles, and there is a thumbnail.
    assert all(torch.equal(got, cut(frame, 4)) for got, frame in zip(tiles(output), FRAMES, strict=True))
    assert decoded(processor, output).startswith("Frame1: <img>###</img>\n")


def test_tiles_that_are_already_cut_stay_unchanged(processor: Any):
    video_tiles = np.random.default_rng(4).integers(0, 256, (2, 3, TILE, TILE, 3), dtype=np.uint8)
    output = process(processor, "<video>", video_tiles)
    assert [
        torch.equal(got, torch.from_numpy(t)) for got, t in zip(tiles(output), video_tiles, strict=True)
    ] == [True] * 2


def test_labels_hold_timestamps_on_request(processor: Any):
    video = (FRAMES, {"times": [0, 12.9, 61]})
    assert decoded(processor, process(processor, "<video>", video, video_timestamps=True)) == (
        "Frame1 (00:00): <img>#</img>\nFrame2 (00:12): <img>#</img>\nFrame3 (01:01): <img>#</img>"
    )
    assert "(" not in decoded(processor, process(processor, "<video>", video))
    with pytest.raises(ValueError, match="video_timestamps needs to know when"):
        process(processor, "<video>", FRAMES, video_timestamps=True)


def test_images_and_videos_mix(processor: Any):
    output = process(
        processor,
        "<image> and <video> and <image> and <video>",
        [FRAMES[:1], FRAMES[1:]],
        [noise(50, 50), noise(60, 60)],
        v2pe_delta=[1, 0.5, 0.5, 0.25],
    )
    assert decoded(processor, output) == (
        "<img>#</img> and Frame1: <img>#</img> and <img>#</img> and "
        "Frame1: <img>#</img>\nFrame2: <img>#</img>"
    )
    assert [item["v2pe_delta"].data.item() for item in output["mm_kwargs"]["v2pe"]] == [1, 0.5, 0.25]
    delta_offsets = [slot.offset for slot in output["mm_placeholders"]["v2pe"]]
    media = output["mm_placeholders"]
    assert delta_offsets == [
        media["image"][0].offset - 1,
        media["video"][0].offset - 1,
        media["video"][1].offset - 1,
    ]


def test_frames_share_cache_entries_across_videos_and_deltas(
    processor: Any, cache: Any, monkeypatch: pytest.MonkeyPatch
):
    cuts: list[object] = []

    def counted(image: Image.Image, tiling: TilingConfig) -> Any:
        cuts.append(image)
        return tile_image(image, tiling)

    monkeypatch.setattr("model.plugin.inputs.processor.tile_image", counted)
    first = process(processor, "<video>", FRAMES[:2], cache=cache, v2pe_delta=1)
    longer = process(processor, "<video>", FRAMES, cache=cache, v2pe_delta=0.25)
    assert len(cuts) == 3
    assert longer["mm_hashes"]["video"][:2] == first["mm_hashes"]["video"]
    fresh = process(processor, "<video>", FRAMES, v2pe_delta=0.25)
    for key in ("prompt_token_ids", "mm_placeholders", "mm_hashes"):
        assert longer[key] == fresh[key]
    assert all(torch.equal(got, new) for got, new in zip(tiles(longer), tiles(fresh), strict=True))


def test_frames_that_lie_in_one_block_are_not_copied(processor: Any):
    """512 frames of a published model take 308 MB."""
    block = np.random.default_rng(5).integers(0, 256, (4, 2, TILE, TILE, 3), dtype=np.uint8)
    joined = tiles(process(processor, "<video>", block))
    assert all(torch.equal(tile, torch.from_numpy(frame)) for tile, frame in zip(joined, block, strict=True))
    assert all(np.shares_memory(tile.numpy(), block) for tile in joined)


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2, 1], [0, 1, 1], [2]])
def test_frames_in_another_order_are_still_the_right_ones(processor: Any, order: list[int]):
    block = np.random.default_rng(6).integers(0, 256, (3, 1, TILE, TILE, 3), dtype=np.uint8)
    other = block.copy()
    for frames in ([block[index] for index in order], [block[0], other[1], block[2]]):
        found = tiles(process(processor, "<video>", [frames]))
        assert len(found) == len(frames)
        for tile, frame in zip(found, frames, strict=True):
            assert torch.equal(tile, torch.from_numpy(frame))


def test_a_named_video_is_known_by_its_name(processor: Any):
    def hashes(name: str | None, frames: np.ndarray) -> list[str]:
        items = processor.info.parse_mm_data({"video": frames})
        return processor("<video>", items, {"video": [name]})["mm_hashes"]["video"]

    assert hashes("a", FRAMES) == hashes("a", FRAMES + 1)
    assert set(hashes("a", FRAMES)).isdisjoint(hashes("b", FRAMES))
    assert len(set(hashes("a", FRAMES))) == 3
    assert hashes(None, FRAMES) != hashes(None, FRAMES + 1)


def test_a_long_video_needs_a_small_delta(processor: Any):
    """Each of 128 frames takes 4 times delta positions and 11 to 13 of text; the window is 2048."""
    video = np.zeros((128, 8, 8, 3), dtype=np.uint8)
    output = process(processor, "<video>", video, v2pe_delta="auto")
    assert [item["v2pe_delta"].data.item() for item in output["mm_kwargs"]["v2pe"]] == [0.5]
    with pytest.raises(ValueError, match=r"2067 positions .* The largest v2pe_delta that fits is 1/2"):
        process(processor, "<video>", video, v2pe_delta=1)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (
            np.zeros((1, 2, TILE, TILE + 1, 3), dtype=np.uint8),
            f"1 to {MAX_TILES + 1} tiles of {TILE} x {TILE}",
        ),
        (np.zeros((1, MAX_TILES + 2, TILE, TILE, 3), dtype=np.uint8), "frame has 8 tiles"),
        (np.zeros((1, 0, TILE, TILE, 3), dtype=np.uint8), "frame has 0 tiles"),
    ],
)
def test_tiles_that_the_model_can_t_take_are_refused(processor: Any, video: Any, message: str):
    with pytest.raises(ValueError, match=message):
        process(processor, "<video>", video)
