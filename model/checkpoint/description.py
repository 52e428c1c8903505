"""Describe a checkpoint of either layout in one form: its vision tower, tiling, window and delta."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import transformers

from model.images.tiling import TilingConfig
from model.v2pe import parse_delta

from .config import InternVLChatConfig, InternVLConfig
from .foreign import REASON
from .templates import DEFAULT_TEMPLATE, system_message


@dataclass(frozen=True)
class VisionShape:
    """The shape of the vision tower, under the names that vLLM's InternViT reads."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    qkv_bias: bool
    qk_normalization: bool
    norm_type: str
    layer_norm_eps: float
    hidden_act: str
    initializer_factor: float = 1.0


def _system_message(config: InternVLConfig, template: str) -> str | None:
    # Published configs hold null under this key. Their code ignores it and uses the template's message.
    configured: str | None = getattr(config, "system_message", None)
    if configured is not None or not isinstance(config, InternVLChatConfig):
        return configured
    return system_message(template)


def _tiling(config: InternVLConfig, tile_size: int, image_processor: Mapping[str, Any]) -> TilingConfig:
    if not getattr(config, "dynamic_image_size", True):
        return TilingConfig(tile_size, min_tiles=1, max_tiles=1, use_thumbnail=False)
    return TilingConfig(
        tile_size,
        min_tiles=getattr(config, "min_dynamic_patch", image_processor.get("min_patches", 1)),
        max_tiles=getattr(config, "max_dynamic_patch", image_processor.get("max_patches", 12)),
        use_thumbnail=getattr(config, "use_thumbnail", True),
    )


@dataclass(frozen=True)
class Checkpoint:
    """The description of a checkpoint, with the same fields for both layouts.

    `tiling` holds the checkpoint's tile limits. `transposes_tiles` is whether the pixel-unshuffle swaps the
    rows and columns of a tile (`ps_version` v1). `window` is the number of positions that the model was
    trained on. `v2pe_delta` is the delta that `config.json` names, or 1. `template` names the conversation
    format (`model.checkpoint.templates`). `system_message` begins a conversation that has none: in
    OpenGVLab's layout it is that of `config.json`, or else the template's, and an empty one means that there
    is none. In transformers' layout it is None, unless our training wrote one into `config.json`.
    """

    layout: Literal["opengvlab", "transformers"]
    vision: VisionShape
    tiling: TilingConfig
    downsample_ratio: float
    transposes_tiles: bool
    tokens_per_tile: int
    window: int
    v2pe_delta: float
    template: str
    system_message: str | None


def num_vision_layers(config: transformers.InternVLConfig) -> int:
    """Return how many layers of the vision tower run; the layers after the feature layer never do.

    The feature layer (`select_layer` or `vision_feature_layer`) is an index into the hidden states: 0 is the
    embeddings, and a negative index counts from the end. Source: OpenGVLab/InternVL
    `modeling_internvl_chat.py`, `extract_feature`.

    Raises:
        ValueError: the tower has no such layer.
    """
    layers, selected = config.vision_config.num_hidden_layers, config.vision_feature_layer
    if not isinstance(selected, int) or not -layers - 1 <= selected <= layers:
        raise ValueError(
            f"select_layer or vision_feature_layer is {selected!r}, but the vision tower has {layers} "
            f"layers: correct it in config.json to a whole number from {-layers - 1} to {layers}"
        )
    return selected if selected >= 0 else layers + 1 + selected


def require_v2pe(config: Any) -> None:
    """Raise ValueError if V2PE isn't available for a checkpoint's language model; the message says why."""
    reason = getattr(config, REASON, None)
    if reason is not None:
        raise ValueError(
            f"{reason}. V2PE isn't available for this one; `vllm serve` serves it with vLLM's own class, "
            "without V2PE"
        )


def read_checkpoint(config: InternVLConfig, image_processor: Mapping[str, Any]) -> Checkpoint:
    """Return the description of a checkpoint.

    Args:
        config: `config.json`, read by one of the classes of `model.checkpoint.config`.
        image_processor: `preprocessor_config.json`, where transformers' layout keeps its tile limits; may be
            empty.

    Raises:
        ValueError: the model can't be built with one of the values, or V2PE isn't available for it.
    """
    require_v2pe(config)
    vision = config.vision_config
    side, patch = getattr(config, "force_image_size", None) or vision.image_size[0], vision.patch_size[0]
    tokens_per_side = side / patch * config.downsample_ratio
    if side % patch or not math.isclose(tokens_per_side, round(tokens_per_side)):
        raise ValueError(
            f"a tile of {side} pixels in patches of {patch} can't be merged by {config.downsample_ratio}: "
            "correct the tile size, patch_size or downsample_ratio in config.json"
        )
    ps_version = getattr(config, "ps_version", "v2")
    if ps_version not in ("v1", "v2"):
        raise ValueError(
            f"ps_version {ps_version!r} of the pixel-unshuffle isn't supported: "
            "use a checkpoint with v1 or v2, such as InternVL3's"
        )
    delta = parse_delta(getattr(config, "v2pe_delta", 1.0))
    if delta == "auto":
        raise ValueError('v2pe_delta in config.json must be a number: only a request may send "auto"')
    template = getattr(config, "template", None) or DEFAULT_TEMPLATE
    opengvlab = isinstance(config, InternVLChatConfig)
    return Checkpoint(
        layout="opengvlab" if opengvlab else "transformers",
        vision=VisionShape(
            hidden_size=vision.hidden_size,
            intermediate_size=vision.intermediate_size,
            num_hidden_layers=num_vision_layers(config),
            num_attention_heads=vision.num_attention_heads,
            image_size=vision.image_size[0],
            patch_size=patch,
            qkv_bias=vision.attention_bias,
            qk_normalization=vision.use_qk_norm,
            norm_type=vision.norm_type,
            layer_norm_eps=vision.layer_norm_eps,
            hidden_act=vision.hidden_act,
        ),
        tiling=_tiling(config, side, image_processor),
        downsample_ratio=config.downsample_ratio,
        transposes_tiles=ps_version == "v1",
        tokens_per_tile=round(tokens_per_side) ** 2,
        window=config.text_config.max_position_embeddings,
        v2pe_delta=delta,
        template=template,
        system_message=_system_message(config, template),
    )
