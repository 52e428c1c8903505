"""Tensor and config names of the two InternVL checkpoint layouts, and the way from one to the other.

OpenGVLab (`InternVLChatModel`): vision_model.*, mlp1.*, language_model.*, with the vision tower's q, k and v
in one `qkv` tensor. transformers (`InternVLForConditionalGeneration`): vision_tower.*,
multi_modal_projector.*, language_model.*, with q, k and v apart. The engine's modules carry OpenGVLab's
names; training runs on transformers' class.

Source: OpenGVLab/InternVL `internvl_chat/tools/internvl_custom2hf.py`, transformers'
`convert_internvl_weights_to_hf.py`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import transformers

# (transformers, OpenGVLab) fragments, both anchored by dots. Most specific first.
_VISION_FRAGMENTS = (
    (".embeddings.cls_token", ".embeddings.class_embedding"),
    (".embeddings.position_embeddings", ".embeddings.position_embedding"),
    (".embeddings.patch_embeddings.projection.", ".embeddings.patch_embedding."),
    (".encoder.layer.", ".encoder.layers."),
    (".attention.projection_layer.", ".attn.proj."),
    (".attention.", ".attn."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".lambda_1", ".ls1"),
    (".lambda_2", ".ls2"),
)
_PROJECTOR_FRAGMENTS = ((".layer_norm.", ".0."), (".linear_1.", ".1."), (".linear_2.", ".3."))
_SPLIT_QKV = re.compile(r"(vision_model\.encoder\.layers\.\d+\.attn\.)([qkv])_proj\.(weight|bias)")
_FUSED_QKV = re.compile(r"(vision_model\.encoder\.layers\.\d+\.attn\.)qkv\.(weight|bias)")
# Keys that only the OpenGVLab vision config spells differently, as (transformers, OpenGVLab).
_VISION_CONFIG_KEYS = (
    ("attention_bias", "qkv_bias"),
    ("use_qk_norm", "qk_normalization"),
    ("layer_scale_init_value", "initializer_factor"),
)
_SHARED_VISION_KEYS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "norm_type",
    "layer_norm_eps", "num_channels", "initializer_range",
)  # fmt: skip


def opengvlab_name(name: str) -> str:
    """Name of a tensor in the OpenGVLab layout, given its name in either.

    Takes transformers' saved names (`vision_tower.*`) and its in-memory names since 5.0
    (`model.vision_tower.*` and `lm_head.*`). A separate q, k or v of the vision tower keeps its `_proj`
    ending: `fuse_qkv` joins them.
    """
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    in_memory = name.startswith("model.")
    name = name.removeprefix("model.")
    if name.startswith("vision_tower."):
        return _rename(name.replace("vision_tower.", "vision_model.", 1), _VISION_FRAGMENTS)
    if name.startswith("multi_modal_projector."):
        return _rename(name.replace("multi_modal_projector.", "mlp1.", 1), _PROJECTOR_FRAGMENTS)
    if in_memory and name.startswith("language_model."):
        return name.replace("language_model.", "language_model.model.", 1)
    return name


def transformers_name(name: str) -> str:
    """Name of a tensor in `InternVLForConditionalGeneration.state_dict()`, given its OpenGVLab name."""
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    if name.startswith("language_model.model."):
        return name.replace("language_model.model.", "model.language_model.", 1)
    if name.startswith("vision_model."):
        renamed = _rename(name, [(theirs, ours) for ours, theirs in _VISION_FRAGMENTS])
        return renamed.replace("vision_model.", "model.vision_tower.", 1)
    if name.startswith("mlp1."):
        renamed = _rename(name, [(theirs, ours) for ours, theirs in _PROJECTOR_FRAGMENTS])
        return renamed.replace("mlp1.", "model.multi_modal_projector.", 1)
    raise ValueError(f"{name!r} is no tensor of an OpenGVLab InternVL checkpoint")


def fuse_qkv(tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Passes OpenGVLab-named tensors on, joining the vision tower's q, k and v as they arrive.

    At most the parts that still wait for each other are held, so a checkpoint streams through shard by shard.

    Raises:
        ValueError: a layer's q, k or v never came; the message names the tensors that are missing.
    """
    waiting: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors:
        match = _SPLIT_QKV.fullmatch(name)
        if match is None:
            yield name, tensor
            continue
        layer, part, kind = match.groups()
        fused_name = f"{layer}qkv.{kind}"
        parts = waiting.setdefault(fused_name, {})
        parts[part] = tensor
        if len(parts) == 3:
            yield fused_name, torch.cat([parts[p] for p in "qkv"], dim=0)
            del waiting[fused_name]
    if waiting:
        missing = [
            transformers_name(fused.replace("qkv", f"{part}_proj")).removeprefix("model.")
            for fused, parts in sorted(waiting.items())
            for part in "qkv"
            if part not in parts
        ]
        raise ValueError(f"the checkpoint lacks {', '.join(missing)}")


def stream_to_opengvlab(tensors: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a checkpoint in either layout, under OpenGVLab's names. Raises as `fuse_qkv`."""
    return fuse_qkv((opengvlab_name(name), tensor) for name, tensor in tensors)


def missing_tensors(config: transformers.InternVLConfig, names: Iterable[str]) -> list[str]:
    """Tensors that a checkpoint of this config lacks, sorted, under the names of its own layout.

    An output head may be absent where the config ties it to the embeddings.

    Args:
        config: the model's config; its module tree is built without memory to learn what it needs.
        names: what the checkpoint holds, in either layout.
    """
    found = set(names)
    with torch.device("meta"):
        required = transformers.InternVLForConditionalGeneration(config).state_dict()
    if any(name.startswith(("vision_model.", "mlp1.")) for name in found):
        required = to_opengvlab(required)
    else:
        found = {transformers_name(opengvlab_name(name)) for name in found}
    optional = {"lm_head.weight", "language_model.lm_head.weight"} if config.tie_word_embeddings else set()
    return sorted(required.keys() - found - optional)


def to_opengvlab(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict in the OpenGVLab layout, from one in either. Raises as `fuse_qkv`."""
    return dict(stream_to_opengvlab(state_dict.items()))


def to_transformers(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `InternVLForConditionalGeneration.load_state_dict` takes, from an OpenGVLab state dict.

    Raises:
        ValueError: a name that no InternVL checkpoint has.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        match = _FUSED_QKV.fullmatch(name)
        if match is None:
            renamed[transformers_name(name)] = tensor
            continue
        layer, kind = match.groups()
        for part, piece in zip("qkv", tensor.chunk(3, dim=0), strict=True):
            renamed[transformers_name(f"{layer}{part}_proj.{kind}")] = piece.clone()
    return renamed


def config_to_opengvlab(
    config: Any, *, min_dynamic_patch: int = 1, max_dynamic_patch: int = 12, use_thumbnail: bool = True
) -> dict[str, Any]:
    """`config.json` in the OpenGVLab layout for a transformers `InternVLConfig` with a Qwen2 language model.

    The tile limits are arguments: transformers keeps them in its image processor's file, not in the config.
    """
    vision, text = config.vision_config, config.to_diff_dict()["text_config"]
    rope = text.pop("rope_parameters")
    text |= {"architectures": ["Qwen2ForCausalLM"], "rope_theta": rope["rope_theta"], "rope_scaling": None}
    if rope.get("rope_type", "default") != "default":
        text["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}
    text["tie_word_embeddings"] = config.tie_word_embeddings
    dtype = str(config.dtype or torch.float32).removeprefix("torch.")
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "downsample_ratio": config.downsample_ratio,
        "dynamic_image_size": True,
        "force_image_size": vision.image_size[0],
        "llm_config": text,
        "max_dynamic_patch": max_dynamic_patch,
        "min_dynamic_patch": min_dynamic_patch,
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": config.vision_feature_layer,
        "template": "internvl2_5",
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": dtype,
        "use_thumbnail": use_thumbnail,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "image_size": vision.image_size[0],
            "patch_size": vision.patch_size[0],
            **{key: getattr(vision, key) for key in _SHARED_VISION_KEYS},
            **{theirs: getattr(vision, ours) for ours, theirs in _VISION_CONFIG_KEYS},
        },
    }


def config_to_transformers(config: Mapping[str, Any], image_token_id: int) -> dict[str, Any]:
    """Arguments of transformers' `InternVLConfig` for an OpenGVLab `config.json`.

    `image_token_id` is the id of `<IMG_CONTEXT>`: the OpenGVLab layout leaves it to the tokenizer.
    """
    vision, text = config["vision_config"], dict(config["llm_config"])
    tied = bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))
    tile_size, patch_size = config.get("force_image_size") or vision["image_size"], vision["patch_size"]
    ratio = config.get("downsample_ratio", 0.5)
    return {
        "text_config": text | {"tie_word_embeddings": tied},
        "vision_config": {
            "image_size": [vision["image_size"]] * 2,
            "patch_size": [patch_size] * 2,
            **{key: vision[key] for key in _SHARED_VISION_KEYS if key in vision},
            **{ours: vision[theirs] for ours, theirs in _VISION_CONFIG_KEYS if theirs in vision},
        },
        "image_token_id": image_token_id,
        "image_seq_length": int((tile_size // patch_size) ** 2 * ratio**2),
        "downsample_ratio": ratio,
        "vision_feature_layer": config.get("select_layer", -1),
        "tie_word_embeddings": tied,
    }


def _rename(name: str, fragments: Iterable[tuple[str, str]]) -> str:
    for old, new in fragments:
        name = name.replace(old, new, 1)
    return name
