"""The limits of a checkpoint and its largest input, which vLLM needs before the first request."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from vllm.multimodal.processing import BaseDummyInputsBuilder, BaseProcessingInfo

from model.checkpoint.config import InternVLConfig
from model.checkpoint.description import Checkpoint, read_checkpoint
from model.image_tokens import IMAGE_CONTEXT, VIDEO_TEXT, ImageTokens, image_tokens
from model.images.tiling import max_num_tiles

from .literal_tokenizer import LiteralTokenizer
from .media_items import InternVLDataParser
from .request_options import VisionOptions, most_tiles_of_a_frame, parse_options


class InternVLProcessingInfo(BaseProcessingInfo):
    """The facts about a checkpoint and an engine that vLLM and the processor need."""

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The description of the checkpoint that the engine serves."""
        config = self.ctx.get_hf_config(InternVLConfig)
        return read_checkpoint(config, self.ctx.get_hf_image_processor_config())

    @cached_property
    def image_tokens(self) -> ImageTokens:
        """The ids of the image tokens in the checkpoint's tokenizer."""
        return image_tokens(self.get_tokenizer())

    @cached_property
    def literal_tokenizer(self) -> LiteralTokenizer:
        """A copy of the tokenizer that takes special tokens in a text literally."""
        return LiteralTokenizer(self.get_tokenizer())

    @property
    def engine_options(self) -> Mapping[str, object]:
        """The `mm_processor_kwargs` that the engine was started with."""
        return self.ctx.get_mm_config().mm_processor_kwargs or {}

    def options(self, request: Mapping[str, object]) -> VisionOptions:
        """Return the options of one request. Raises as `parse_options` does."""
        return parse_options(request, self.engine_options, self.checkpoint.tiling, self.checkpoint.v2pe_delta)

    @property
    def max_frame_tiles(self) -> int:
        """The most tiles that a frame of a video can have, including the thumbnail."""
        tiling = self.checkpoint.tiling
        return max_num_tiles(replace(tiling, max_tiles=most_tiles_of_a_frame(self.engine_options, tiling)))

    def get_data_parser(self) -> InternVLDataParser:
        return InternVLDataParser()

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"image": None, "video": None}

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        return {}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Return the context tokens of the items of vLLM's memory profile, which no image or frame exceeds.

        Each frame of a video is one item.
        """
        per_tile = self.checkpoint.tokens_per_tile
        return {"image": self.profile_image_tiles * per_tile, "video": self.profile_frame_tiles * per_tile}

    @property
    def profile_image_tiles(self) -> int:
        """The tiles of an image in vLLM's memory profile: the most that an image can have, rounded up.

        vLLM profiles as many of the largest items as fit into a batch. Of 13 tiles only 2 items, 26 tiles,
        fit into a batch of 32, but a real batch may hold 32 items of one tile. A power of two leaves no rest.
        """
        return _power_of_two(max_num_tiles(self.options({}).tiling))

    @property
    def profile_frame_tiles(self) -> int:
        """The same for a frame of a video."""
        return _power_of_two(self.max_frame_tiles)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


class InternVLDummyInputsBuilder(BaseDummyInputsBuilder[InternVLProcessingInfo]):
    """The builder of the largest possible items, for vLLM's memory profile."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return IMAGE_CONTEXT * mm_counts.get("image", 0) + VIDEO_TEXT * mm_counts.get("video", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        side = self.info.checkpoint.tiling.tile_size
        images = self._get_dummy_images(
            width=side * self.info.profile_image_tiles,
            height=side,
            num_images=mm_counts.get("image", 0),
            overrides=mm_options.get("image"),
        )
        frame = np.zeros((1, self.info.profile_frame_tiles, side, side, 3), dtype=np.uint8)
        return {"image": images, "video": [frame] * mm_counts.get("video", 0)}
