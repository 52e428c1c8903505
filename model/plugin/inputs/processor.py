"""vLLM's multi-modal processor for InternVL3: it makes tiles of media, and tokens of placeholders.

Tiles stay uint8 until the model's device normalises them, so that there are only a quarter of the bytes to
hash, cache and send. A delta is an item without embeddings. It replaces the first `<img>` that it holds for,
so that the engine's block hashes include it, and the hashes of pixels don't (docs/decisions/0011).
The delta stays on the CPU, because vLLM keeps only such fields for items that come from the prefix cache, and
the positions need the delta.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import ImageProcessorItems, MultiModalDataItems
from vllm.multimodal.processing import (
    BaseMultiModalProcessor,
    ProcessorInputs,
    PromptReplacement,
    PromptUpdate,
    PromptUpdateDetails,
)

from model.image_tokens import frame_labels
from model.images.tiling import TilingConfig, num_tiles, tile_image
from model.v2pe import choose_deltas

from .media_items import Clip, ClipItems, DeltaItems, Frame, FrameItems
from .placeholders import DELTA_MARKER, FRAME_MARKER, IMAGE_MARKER, find_media_slots
from .processing_info import InternVLProcessingInfo
from .prompt_positions import DELTA_MODALITY

_MARKERS = {"image": IMAGE_MARKER, "video": FRAME_MARKER}


class ProfileInputs(ProcessorInputs):
    """The input of vLLM's memory profile, whose items have more tiles than those of a request may have."""


class InternVLMultiModalProcessor(BaseMultiModalProcessor[InternVLProcessingInfo]):
    """The processor of images and videos.

    Its output holds `image_tiles` (tiles, side, side, 3) uint8 and `image_num_tiles`, the same for "video"
    with the frames of all videos, and `v2pe_delta` (deltas,).
    """

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """Resolve the options of a request before vLLM hashes it, and process it as vLLM does.

        Videos become frames, deltas become items, and the options become tile limits, which are always
        present. So two requests with the same meaning share their cached tiles and tokens.

        Raises:
            ValueError: the options or media are invalid, the placeholders don't match the media, or the
                prompt exceeds the trained window.
        """
        options = self.info.options(inputs.hf_processor_mm_kwargs)
        images, clips = _images(inputs.mm_data_items), _clips(inputs.mm_data_items)
        sizes = [images.get_image_size(index) for index in range(len(images))]
        image_tiling, max_frame_tiles = options.image_tiling(sizes), self.info.max_frame_tiles
        if isinstance(inputs, ProfileInputs):
            tiles_in_grid, max_frame_tiles = self.info.profile_image_tiles, self.info.profile_frame_tiles
            if image_tiling.use_thumbnail and tiles_in_grid > 1:
                tiles_in_grid -= 1
            image_tiling = replace(image_tiling, min_tiles=tiles_in_grid, max_tiles=tiles_in_grid)
        prompt = find_media_slots(
            inputs.prompt,
            len(images),
            [_labels(clip, options.timestamps) for clip in clips],
            self.info.image_tokens,
            self.info.get_tokenizer(),
            self.info.literal_tokenizer,
        )
        frames = [frame for clip in clips for frame in clip.frames]
        tiles = {
            "image": [num_tiles(width, height, image_tiling) for width, height in sizes],
            "video": [_frame_num_tiles(frame, options.frame_tiling, max_frame_tiles) for frame in frames],
        }
        per_tile = self.info.checkpoint.tokens_per_tile
        deltas = choose_deltas(
            options.deltas,
            prompt.medium_of_tokens([tiles[slot.modality][slot.item] * per_tile for slot in prompt.slots]),
            max_tokens=options.max_tokens,
            reserve=options.reserve,
            growth=options.growth,
            window=self.info.checkpoint.window,
        )
        ids, marked_deltas = prompt.with_delta_markers(deltas)
        items = {"image": images, "video": FrameItems(frames), DELTA_MODALITY: DeltaItems(marked_deltas)}
        resolved = replace(
            inputs,
            prompt=ids,
            mm_data_items=MultiModalDataItems({name: data for name, data in items.items() if len(data)}),
            mm_uuid_items=_frame_uuids(inputs.mm_uuid_items, clips),
            # vLLM hashes images together with the first, and frames together with the second.
            hf_processor_mm_kwargs={
                "images_kwargs": {"min": image_tiling.min_tiles, "max": image_tiling.max_tiles},
                "videos_kwargs": {"min": 1, "max": options.frame_tiling.max_tiles},
            },
        )
        return super().apply(resolved, timing_ctx)

    def get_dummy_inputs(self, *args: Any, **kwargs: Any) -> ProfileInputs:
        """Return the largest input, with a delta that fits, because at delta 1 it may exceed the window."""
        largest = super().get_dummy_inputs(*args, **kwargs)
        return ProfileInputs(
            largest.prompt, largest.mm_data_items, hf_processor_mm_kwargs={"v2pe_delta": "auto"}
        )

    def _get_mm_hashes(self, inputs: Any) -> Any:
        hashes = super()._get_mm_hashes(inputs)
        if DELTA_MODALITY in hashes:
            deltas = inputs.mm_data_items[DELTA_MODALITY]
            hashes[DELTA_MODALITY] = [f"{DELTA_MODALITY}:{delta!r}" for delta in deltas.get_all()]
        return hashes

    def _call_hf_processor(self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, Any]) -> BatchFeature:
        image_tiling = self._tiling(hf_kwargs["images_kwargs"])
        frame_tiling = self._tiling(hf_kwargs["videos_kwargs"])
        tiles = {
            "image": [tile_image(image, image_tiling) for image in hf_data.get("images", ())],
            "video": [_frame_tiles(frame, frame_tiling) for frame in hf_data.get("videos", ())],
        }
        fields = {"v2pe_delta": torch.tensor(hf_data.get("deltas", ()), dtype=torch.float64)}
        for modality, arrays in tiles.items():
            if arrays:
                fields[f"{modality}_tiles"] = torch.from_numpy(_joined(arrays))
                fields[f"{modality}_num_tiles"] = torch.tensor([len(array) for array in arrays])
        return BatchFeature(fields)

    def _tiling(self, limits: Mapping[str, int]) -> TilingConfig:
        return replace(self.info.checkpoint.tiling, min_tiles=limits["min"], max_tiles=limits["max"])

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        fields = {"v2pe_delta": MultiModalFieldConfig.batched(DELTA_MODALITY, keep_on_cpu=True)}
        for modality in _MARKERS:
            sizes = hf_inputs.get(f"{modality}_num_tiles", torch.empty(0, dtype=torch.int64))
            fields[f"{modality}_tiles"] = MultiModalFieldConfig.flat_from_sizes(modality, sizes)
            fields[f"{modality}_num_tiles"] = MultiModalFieldConfig.batched(modality, keep_on_cpu=True)
        return fields

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        tokens, per_tile = self.info.image_tokens, self.info.checkpoint.tokens_per_tile

        def run(modality: str, index: int) -> list[int]:
            return (
                [tokens.context]
                * int(out_mm_kwargs[modality][index][f"{modality}_num_tiles"].data)
                * per_tile
            )

        delta = PromptUpdateDetails(
            [tokens.start], is_embed=lambda full: torch.zeros(len(full), dtype=torch.bool)
        )
        return [
            PromptReplacement(modality="image", target=[IMAGE_MARKER], replacement=lambda i: run("image", i)),
            PromptReplacement(modality="video", target=[FRAME_MARKER], replacement=lambda i: run("video", i)),
            PromptReplacement(modality=DELTA_MODALITY, target=[DELTA_MARKER], replacement=delta),
        ]


def _images(items: MultiModalDataItems) -> ImageProcessorItems:
    images = items.get_items("image", ImageProcessorItems) if "image" in items else ImageProcessorItems([])
    for image in images.get_all():
        is_rgb = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape[2:] == (3,)
        if not is_rgb and not isinstance(image, Image.Image):
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"an image must be a PIL image or a uint8 array (H, W, 3), not {kind}")
    return images


def _clips(items: MultiModalDataItems) -> list[Clip]:
    return items.get_items("video", ClipItems).get_all() if "video" in items else []


def _labels(clip: Clip, timestamps: bool) -> list[str]:
    if timestamps and clip.times_F is None:
        raise ValueError(
            'video_timestamps needs to know when frames are shown: send (frames, {"times": [seconds, ...]})'
        )
    return frame_labels(len(clip.frames), clip.times_F if timestamps else None)


def _frame_num_tiles(frame: Frame, tiling: TilingConfig, most: int) -> int:
    if not frame.is_cut:
        height, width, _ = frame.pixels.shape
        return num_tiles(width, height, tiling)
    tiles, height, width, _ = frame.pixels.shape
    if (height, width) != (tiling.tile_size,) * 2 or not 1 <= tiles <= most:
        raise ValueError(
            f"a frame has {tiles} tiles of {width} x {height} pixels: send 1 to "
            f"{most} tiles of {tiling.tile_size} x {tiling.tile_size}"
        )
    return tiles


def _frame_uuids(uuids: Mapping[str, Sequence[str | None]] | None, clips: Sequence[Clip]) -> Any:
    """Return the caller's names of images unchanged, and names of frames built from the names of videos."""
    if not uuids or "video" not in uuids:
        return uuids
    frame_uuids = [
        f"{uuid}-{number}" if uuid is not None else None
        for uuid, clip in zip(uuids["video"], clips, strict=True)
        for number in range(len(clip.frames))
    ]
    return {**uuids, "video": frame_uuids}


def _frame_tiles(frame: Frame, tiling: TilingConfig) -> NDArray[np.uint8]:
    return frame.pixels if frame.is_cut else tile_image(frame.pixels, tiling)


def _joined(arrays: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the arrays one after the other, without a copy where they lie so in memory.

    The frames of a video do, and 512 of them take 308 MB.
    """
    first = arrays[0]
    ends = [array.ctypes.data + array.nbytes for array in arrays]
    in_one_block = all(
        array.base is not None and array.base is first.base and array.flags.c_contiguous for array in arrays
    )
    if in_one_block and ends[:-1] == [array.ctypes.data for array in arrays[1:]]:
        shape = (sum(map(len, arrays)), *first.shape[1:])
        return np.lib.stride_tricks.as_strided(first, shape=shape, strides=first.strides)
    return first if len(arrays) == 1 else np.concatenate(arrays)
