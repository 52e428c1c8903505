"""What a checkpoint says about itself, read from either layout into one shape.

The engine wants transformers config objects: `InternVLConfig` and `InternVLChatConfig` below, the second of
which reads OpenGVLab's `config.json` by its own names, so no code from the checkpoint is ever run. Everything
else of ours asks `Checkpoint`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import transformers

from .backbones import head_dim, language_config, require_language_model
from .end_of_turn import end_of_turn
from .layouts import config_to_transformers
from .templates import DEFAULT_TEMPLATE, system_message
from .tiling import TilingConfig
from .v2pe import parse_delta

# Longest context that the engine may be asked for, in tokens. The window counts positions, not tokens: with a
# small delta a prompt of a million tokens can stay within it (V2PE, arXiv 2412.09616).
_MAX_CONTEXT = 2**20


class InternVLConfig(transformers.InternVLConfig):
    """transformers' config, prepared for V2PE in the engine. Its auto classes look the name up, so it stays.

    Raises ValueError for a language model or a rotary scaling that isn't supported.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        text = self.text_config
        require_language_model(text)
        # Whether the output head is tied is decided by what the checkpoint holds: see
        # `InternVLModel.load_weights`.
        text.tie_word_embeddings = False
        text.model_max_length = _MAX_CONTEXT
        # Tells the engine to carry three rows of positions; it isn't put into rope_parameters, which would
        # make the engine build its own M-RoPE. The numbers are read by nobody.
        self.mrope_section = [head_dim(text) // 2, 0, 0]

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """As transformers' own, with the end of a turn in the place of the eos that published configs hold.

        The tokenizer in `name_or_path` knows it; auto classes and vLLM pass that folder or hub name on. The
        engine asks the config only where a checkpoint has no `generation_config.json`.
        """
        text = config_dict.get("text_config")
        if isinstance(text, dict):
            config_dict = config_dict | {"text_config": language_config(text)}
        stop = end_of_turn(kwargs["name_or_path"]) if kwargs.get("name_or_path") else None
        if stop is not None:
            config_dict = config_dict | {"eos_token_id": stop}
        return super().from_dict(config_dict, **kwargs)


class InternVLChatConfig(InternVLConfig):
    """OpenGVLab's `config.json`, under transformers' names. Keys that those lack are kept as attributes."""

    model_type = "internvl_chat"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        if "llm_config" in config_dict:
            theirs = {
                k: v for k, v in config_dict.items() if k not in ("llm_config", "vision_config", "auto_map")
            }
            # The id of the context token is the tokenizer's to know; nothing reads it from here.
            config_dict = theirs | config_to_transformers(config_dict, image_token_id=0)
        return super().from_dict(config_dict, **kwargs)


@dataclass(frozen=True)
class VisionShape:
    """The vision tower, under the names that vLLM's InternViT reads."""

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


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as our code sees it.

    `window` is the number of positions that the model was trained on; `tiling` the checkpoint's own limits;
    `v2pe_delta` the delta it was tuned for, 1 where nothing is said. `template` names its conversation format
    (`model.templates`). `system_message` is what a conversation without one begins with: in OpenGVLab's
    layout the template's unless `config.json` says another; empty or None where there is none.
    """

    layout: Literal["opengvlab", "transformers"]

    vision: VisionShape
    tiling: TilingConfig
    downsample_ratio: float
    tokens_per_tile: int
    window: int
    v2pe_delta: float
    template: str
    system_message: str | None


def read_checkpoint(config: InternVLConfig, image_processor: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint's own description.

    Args:
        config: `config.json`, read by one of the classes above.
        image_processor: `preprocessor_config.json`, where transformers' layout keeps its tile limits; may be
            empty.

    Raises:
        ValueError: a value that the model can't be built with.
    """
    vision = config.vision_config
    side, patch = getattr(config, "force_image_size", None) or vision.image_size[0], vision.patch_size[0]
    tokens_per_side = side / patch * config.downsample_ratio
    if side % patch or not math.isclose(tokens_per_side, round(tokens_per_side)):
        raise ValueError(
            f"a tile of {side} pixels in patches of {patch} can't be merged by {config.downsample_ratio}"
        )
    if getattr(config, "ps_version", "v2") != "v2":
        raise ValueError(f"pixel-unshuffle {config.ps_version!r} isn't supported: InternVL3 uses v2")
    layers = config.vision_feature_layer
    delta = parse_delta(getattr(config, "v2pe_delta", 1.0))
    if delta == "auto":
        raise ValueError("config.json's v2pe_delta must be a number; a request may ask for auto")
    template = getattr(config, "template", None) or DEFAULT_TEMPLATE
    opengvlab = isinstance(config, InternVLChatConfig)
    return Checkpoint(
        layout="opengvlab" if opengvlab else "transformers",
        vision=VisionShape(
            hidden_size=vision.hidden_size,
            intermediate_size=vision.intermediate_size,
            # A negative feature layer counts from the end: the layers after it are never run, so they aren't
            # built.
            num_hidden_layers=layers + 1 if layers >= 0 else vision.num_hidden_layers + layers + 1,
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
        tokens_per_tile=round(tokens_per_side) ** 2,
        window=config.text_config.max_position_embeddings,
        v2pe_delta=delta,
        template=template,
        system_message=_system_message(config, template) if opengvlab else None,
    )


def _system_message(config: InternVLChatConfig, template: str) -> str:
    # Published configs hold the key with null, which their code doesn't read: it takes the template's.
    own: str | None = getattr(config, "system_message", None)
    return system_message(template) if own is None else own


def _tiling(config: InternVLConfig, tile_size: int, image_processor: Mapping[str, Any]) -> TilingConfig:
    if not getattr(config, "dynamic_image_size", True):
        return TilingConfig(tile_size, min_tiles=1, max_tiles=1, use_thumbnail=False)
    return TilingConfig(
        tile_size,
        min_tiles=getattr(config, "min_dynamic_patch", image_processor.get("min_patches", 1)),
        max_tiles=getattr(config, "max_dynamic_patch", image_processor.get("max_patches", 12)),
        use_thumbnail=getattr(config, "use_thumbnail", True),
    )
