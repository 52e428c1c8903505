"""vLLM's multi-modal processor for InternVL3: images to tiles, placeholders to runs of context tokens.

Tiles travel as uint8 and are normalised on the model's device: a quarter of the bytes to hash, cache and
send. Every image carries its delta, in a field that stays on the CPU: vLLM keeps exactly those fields for
images whose tokens come from the prefix cache, and the positions of the whole prompt need them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import ImageProcessorItems, MultiModalDataItems
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
    PromptUpdateDetails,
)

from .config import Checkpoint, InternVLConfig, read_checkpoint
from .options import ImageOptions, parse_options
from .prompt import IMAGE_CONTEXT, ImageTokens, image_run, image_tokens, place_images
from .tiling import TilingConfig, max_num_tiles, num_tiles, tile_image
from .v2pe import choose_delta


class InternVLProcessingInfo(BaseProcessingInfo):
    """The checkpoint's facts that tell vLLM how large an image can get."""

    @cached_property
    def checkpoint(self) -> Checkpoint:
        config = self.ctx.get_hf_config(InternVLConfig)
        return read_checkpoint(config, self.ctx.get_hf_image_processor_config())

    @cached_property
    def image_tokens(self) -> ImageTokens:
        return image_tokens(self.get_tokenizer())

    def options(self, request: Mapping[str, object]) -> ImageOptions:
        """One request's options. Raises as `parse_options`."""
        engine = self.ctx.get_mm_config().mm_processor_kwargs or {}
        return parse_options(request, engine, self.checkpoint.tiling, self.checkpoint.v2pe_delta)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"image": None}

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        return {}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        return {"image": max_num_tiles(self.options({}).tiling) * self.checkpoint.tokens_per_tile}


class InternVLDummyInputsBuilder(BaseDummyInputsBuilder[InternVLProcessingInfo]):
    """The largest input there can be, for vLLM's memory profile."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return IMAGE_CONTEXT * mm_counts.get("image", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        tiling = self.info.options({}).tiling
        images = self._get_dummy_images(
            width=tiling.tile_size * tiling.max_tiles,
            height=tiling.tile_size,
            num_images=mm_counts.get("image", 0),
            overrides=mm_options.get("image"),
        )
        return {"image": images}


class InternVLMultiModalProcessor(BaseMultiModalProcessor[InternVLProcessingInfo]):
    """Makes `image_tiles` (tiles, side, side, 3) uint8, `image_num_tiles`, `image_v2pe_delta` (images,)."""

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """Settles the request's options before vLLM hashes them, then goes on as usual.

        After this the options are three numbers, always present: two requests that mean the same share their
        cached tiles and tokens, and no "auto" that meant another delta in another prompt can be taken from a
        cache.

        Raises:
            ValueError: bad options, placeholders that don't match the images, or a prompt beyond the trained
            window.
        """
        options = self.info.options(inputs.hf_processor_mm_kwargs)
        images = inputs.mm_data_items.get_items("image", ImageProcessorItems)
        tokens = self.info.image_tokens
        prompt = place_images(inputs.prompt, len(images), tokens, self.info.get_tokenizer())
        sizes = [images.get_image_size(index) for index in range(len(images))]
        runs = [num_tiles(w, h, options.tiling) * self.info.checkpoint.tokens_per_tile for w, h in sizes]
        delta = choose_delta(
            options.delta,
            _visual_mask(prompt, tokens, runs),
            max_tokens=options.max_tokens,
            window=self.info.checkpoint.window,
        )
        settled = {
            "v2pe_delta": delta,
            "min_dynamic_patch": options.tiling.min_tiles,
            "max_dynamic_patch": options.tiling.max_tiles,
        }
        return super().apply(replace(inputs, prompt=prompt, hf_processor_mm_kwargs=settled), timing_ctx)

    def _call_hf_processor(self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, Any]) -> BatchFeature:
        tiling = TilingConfig(
            self.info.checkpoint.tiling.tile_size,
            hf_kwargs["min_dynamic_patch"],
            hf_kwargs["max_dynamic_patch"],
            self.info.checkpoint.tiling.use_thumbnail,
        )
        tiles = [tile_image(_pil(image), tiling) for image in hf_data["images"]]
        return BatchFeature(
            {
                "image_tiles": torch.from_numpy(np.concatenate(tiles)),
                "image_num_tiles": torch.tensor([len(t) for t in tiles]),
                "image_v2pe_delta": torch.full((len(tiles),), hf_kwargs["v2pe_delta"], dtype=torch.float64),
            }
        )

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        sizes = hf_inputs.get("image_num_tiles", torch.empty(0, dtype=torch.int64))
        return {
            "image_tiles": MultiModalFieldConfig.flat_from_sizes("image", sizes),
            "image_num_tiles": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
            "image_v2pe_delta": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        tokens = self.info.image_tokens

        def run(index: int) -> PromptUpdateDetails:
            tiles = int(out_mm_kwargs["image"][index]["image_num_tiles"].data)
            ids = image_run(tokens, tiles * self.info.checkpoint.tokens_per_tile)
            return PromptUpdateDetails.select_token_id(ids, tokens.context)

        return [PromptReplacement(modality="image", target=[tokens.context], replacement=run)]


def _visual_mask(prompt: Sequence[int], tokens: ImageTokens, runs: Sequence[int]) -> np.ndarray[Any, Any]:
    """bool (T,) over the prompt once its n-th placeholder has become an image of `runs[n]` tokens."""
    lengths = iter(runs)
    mask: list[bool] = []
    for token in prompt:
        mask += [False, *[True] * next(lengths), False] if token == tokens.context else [False]
    return np.asarray(mask)


def _pil(image: object) -> Image.Image:
    if isinstance(image, np.ndarray) and image.dtype == np.uint8:
        return Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise ValueError(
            f"an image must be a PIL image or a uint8 array (H, W, 3), not {type(image).__name__}"
        )
    return image
