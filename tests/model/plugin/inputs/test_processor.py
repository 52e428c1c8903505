"""vLLM's processing with our processor gives the right output for prompts with images, without an engine."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vllm.exceptions import VLLMValidationError

from model.images.tiling import TilingConfig, tile_image
from tests.checkpoints import MAX_TILES, TILE, WINDOW

TILING = TilingConfig(TILE, 1, MAX_TILES, use_thumbnail=True)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def process(processor: Any, prompt: str, images: list[Any], cache: Any = None, **options: object) -> Any:
    items = processor.info.parse_mm_data({"image": images})
    return processor(prompt, items, hf_processor_mm_kwargs=options, cache=cache)


def fields(output: Any, index: int = 0) -> dict[str, Any]:
    return {name: element.data for name, element in output["mm_kwargs"]["image"][index].items()}


def deltas(output: Any) -> list[float]:
    """Return the deltas in the order of the prompt; a delta appears once until another one follows."""
    return [item["v2pe_delta"].data.item() for item in output["mm_kwargs"]["v2pe"]]


def test_an_image_becomes_tiles_and_a_run_of_tokens(processor: Any):
    image = noise(300, 190)
    tiles = tile_image(image, TILING)
    output = process(processor, "Look: <image>\nWell?", [image], v2pe_delta=0.25)
    assert torch.equal(fields(output)["image_tiles"], torch.from_numpy(tiles))
    assert fields(output)["image_tiles"].dtype == torch.uint8
    assert fields(output)["image_num_tiles"] == len(tiles)
    assert deltas(output) == [0.25]
    run = "<img>" + "<IMG_CONTEXT>" * (4 * len(tiles)) + "</img>"
    expected = processor.info.get_tokenizer().encode(f"Look: {run}\nWell?", add_special_tokens=False)
    assert output["prompt_token_ids"] == expected
    (slot,) = output["mm_placeholders"]["image"]
    assert (slot.offset, slot.length) == (7, 4 * len(tiles))
    (slot,) = output["mm_placeholders"]["v2pe"]
    assert (slot.offset, slot.length, slot.get_num_embeds()) == (6, 1, 0)


def test_every_image_has_its_own_tiles(processor: Any):
    images = [noise(50, 50), noise(300, 190), noise(60, 300)]
    output = process(processor, "<image> <image> <image>", images)
    for index, image in enumerate(images):
        expected = torch.from_numpy(tile_image(image, TILING))
        assert torch.equal(fields(output, index)["image_tiles"], expected)
    assert deltas(output) == [1]


def test_arrays_are_images_too(processor: Any):
    image = noise(70, 60)
    output = process(processor, "<image>", [np.asarray(image)])
    assert torch.equal(fields(output)["image_tiles"], torch.from_numpy(tile_image(image, TILING)))


def test_the_request_sets_the_number_of_tiles(processor: Any):
    assert (
        fields(process(processor, "<image>", [noise(300, 190)], max_dynamic_patch=1))["image_num_tiles"] == 1
    )
    few = process(processor, "<image>", [noise(50, 50)], min_dynamic_patch=2, max_dynamic_patch=2)
    assert fields(few)["image_num_tiles"] == 3  # The third tile is the thumbnail.


def test_options_with_the_same_meaning_share_a_cache_entry(processor: Any):
    def identity(modality: str = "image", **options: object) -> str:
        return process(processor, "<image>", [noise(50, 50)], **options)["mm_hashes"][modality][0]

    assert identity() == identity(max_dynamic_patch=MAX_TILES) == identity(max_dynamic_patch=1000)
    assert identity() == identity(v2pe_max_tokens=100) == identity(video_max_dynamic_patch=3)
    assert identity() != identity(max_dynamic_patch=2)
    assert identity() == identity(v2pe_delta=0.5) == identity(v2pe_delta="auto")  # The pixels are equal.
    assert identity("v2pe") == identity("v2pe", v2pe_delta=1) == identity("v2pe", v2pe_delta="auto")
    assert identity("v2pe") != identity("v2pe", v2pe_delta=0.5)


def test_an_image_is_cut_once_for_all_deltas(processor: Any, cache: Any, monkeypatch: pytest.MonkeyPatch):
    cuts: list[object] = []

    def counted(image: Image.Image, tiling: TilingConfig) -> Any:
        cuts.append(image)
        return tile_image(image, tiling)

    monkeypatch.setattr("model.plugin.inputs.processor.tile_image", counted)
    image = noise(123, 77)
    results = [process(processor, "<image>", [image], cache, v2pe_delta=d) for d in (1, 0.5, 1, 0.25)]
    assert len(cuts) == 1
    assert [deltas(output) for output in results] == [[1], [0.5], [1], [0.25]]
    assert all(torch.equal(fields(o)["image_tiles"], fields(results[0])["image_tiles"]) for o in results)


def test_a_cached_image_may_have_another_slot(processor: Any, cache: Any):
    images = [noise(50, 50), noise(300, 190)]
    first = process(processor, "<image>?", images[:1], cache, v2pe_delta=0.5)
    again = process(processor, "<image> <image>!", [images[1], images[0]], cache, v2pe_delta=0.5)
    fresh = process(processor, "<image> <image>!", [images[1], images[0]], v2pe_delta=0.5)
    assert again["mm_hashes"]["image"][1] == first["mm_hashes"]["image"][0]
    for key in ("prompt_token_ids", "mm_placeholders", "mm_hashes"):
        assert again[key] == fresh[key]
    for index in range(2):
        assert torch.equal(fields(again, index)["image_tiles"], fields(fresh, index)["image_tiles"])
    assert deltas(again) == [0.5]


def test_every_image_may_have_its_own_delta(processor: Any):
    image = noise(50, 50)
    output = process(processor, "a <image> b <image> c <image>", [image] * 3, v2pe_delta=[0.25, 0.25, 1])
    assert deltas(output) == [0.25, 1]  # There is a delta item where the delta changes.
    first, last = output["mm_placeholders"]["v2pe"]
    images = output["mm_placeholders"]["image"]
    assert (first.offset, last.offset) == (images[0].offset - 1, images[2].offset - 1)
    assert len(set(output["mm_hashes"]["image"])) == 1


def test_auto_takes_the_largest_delta_that_fits(processor: Any):
    """An image has 28 visual tokens and two that frame it, and the window has 2048 positions."""
    few = process(processor, "<image>" * 5, [noise(300, 190)] * 5, v2pe_delta="auto")
    many = process(processor, "<image>" * 100, [noise(300, 190)] * 100, v2pe_delta="auto")
    assert deltas(few) == [1]
    assert deltas(many) == [0.5]  # 100 * (28 / 2 + 2) positions fit, and 100 * 30 don't.


def test_room_for_the_answer_is_part_of_the_choice(processor: Any):
    options: dict[str, object] = {"v2pe_delta": "auto", "v2pe_max_tokens": WINDOW - 200}
    output = process(processor, "<image>" * 10, [noise(300, 190)] * 10, **options)
    assert deltas(output) == [0.5]


def test_a_prompt_beyond_the_trained_window_is_refused(processor: Any):
    with pytest.raises(
        ValueError, match=r"the model's window is 2048. The largest v2pe_delta that fits is 1/2"
    ):
        process(processor, "<image>" * 100, [noise(300, 190)] * 100, v2pe_delta=1)


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("<image>", {"v2pe_delta": 2}, "v2pe_delta must be"),
        ("<image>", {"max_dynamic_patch": -1}, "max_dynamic_patch must be"),
        ("<image>", {"delta": 1}, "unknown mm_processor_kwargs delta"),
        ("<image>", {"v2pe_delta": [1, 1]}, "v2pe_delta has 2 numbers for 1 images and videos"),
        ("<image> or <image>", {}, "2 image placeholders for 1 images"),
        ("nothing", {}, "0 image placeholders for 1 images"),
    ],
)
def test_bad_requests_say_what_to_change(processor: Any, prompt: str, options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        process(processor, prompt, [noise(50, 50)], **options)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.zeros((8, 8, 3), dtype=np.float32), "float32"),
        (np.zeros((8, 8), dtype=np.uint8), r"uint8 \(8, 8\)"),
        (np.zeros((3, 8, 8), dtype=np.uint8), r"uint8 \(3, 8, 8\)"),
        (None, "NoneType"),
    ],
)
def test_other_images_are_refused(processor: Any, image: Any, kind: str):
    with pytest.raises(ValueError, match=f"PIL image or a uint8 array .*not {kind}"):
        process(processor, "<image>", [image])


@pytest.mark.parametrize("modality", ["image", "video"])
@pytest.mark.parametrize("embedding", [torch.zeros(1, 4, 64), [torch.zeros(4, 64)], {"image_embeds": 0}])
def test_embeddings_are_refused(processor: Any, modality: str, embedding: Any):
    with pytest.raises(
        ValueError, match="as pixels, not as embeddings, which have neither tiles nor a delta"
    ):
        processor.info.parse_mm_data({modality: embedding})


def test_deltas_come_from_options_only(processor: Any):
    with pytest.raises(VLLMValidationError, match="At most 0 v2pe"):
        processor.info.parse_mm_data({"v2pe": [0.5]})


def test_a_budget_of_tiles_holds_for_all_images(processor: Any):
    images = [noise(300, 190), noise(190, 300), noise(50, 50)]  # They have 6, 6 and 1 tiles.

    def counts(**options: object) -> list[int]:
        output = process(processor, "<image>" * 3, images, **options)
        return [int(fields(output, index)["image_num_tiles"]) for index in range(3)]

    assert counts() == counts(max_dynamic_patch_total=13) == [7, 7, 1]
    assert counts(max_dynamic_patch_total=12) == [3, 3, 1]  # Each image may have 4 tiles.
    assert counts(max_dynamic_patch_total=3) == [1, 1, 1]
    with pytest.raises(
        ValueError, match="3 images need at least a tile each, but max_dynamic_patch_total allows 2"
    ):
        counts(max_dynamic_patch_total=2)


@pytest.mark.parametrize("modality", ["image", "video"])
def test_the_dummy_input_reaches_the_maximum_that_vllm_knows(processor: Any, modality: str):
    """vLLM sizes its encoder cache by the maximum; a larger item would never be scheduled."""
    maxima = processor.info.get_mm_max_tokens_per_item(seq_len=WINDOW, mm_counts={modality: 1})
    dummy = processor.get_dummy_mm_inputs({modality: 1})
    (slot,) = dummy["mm_placeholders"][modality]
    assert slot.get_num_embeds() == maxima[modality] == 4 * 8


def test_the_dummy_input_may_exceed_the_window(processor: Any, monkeypatch: pytest.MonkeyPatch):
    narrow = replace(processor.info.checkpoint, window=4 * MAX_TILES)
    monkeypatch.setattr(processor.info, "checkpoint", narrow)
    assert processor.get_dummy_mm_inputs({"image": 1})["mm_placeholders"]["image"][0].length > narrow.window
