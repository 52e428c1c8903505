"""The dimensions of the published sizes, and their `config.json`.

`tests/model/size_sources.py` says where each value was read, and which values are inferred from others.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

Vision = Literal["300m", "6b"]
Language = Literal["qwen2", "qwen3", "internlm2", "internlm3", "llama"]
Layout = Literal["opengvlab", "transformers"]

ARCHITECTURES: dict[Language, str] = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "internlm2": "InternLM2ForCausalLM",
    "internlm3": "InternLM3ForCausalLM",
    "llama": "LlamaForCausalLM",
}


@dataclass(frozen=True)
class VisionTower:
    """The dimensions in which the two published InternViT differ."""

    hidden: int
    ffn: int
    layers: int
    heads: int
    norm: str
    qkv_bias: bool
    qk_norm: bool
    side: int = 448
    patch: int = 14


VISION: dict[Vision, VisionTower] = {
    "300m": VisionTower(1024, 4096, 24, 16, "layer_norm", qkv_bias=True, qk_norm=False),
    "6b": VisionTower(3200, 12800, 45, 25, "rms_norm", qkv_bias=False, qk_norm=True),
}


@dataclass(frozen=True)
class Size:
    """One published size; `billions` is the published number of parameters."""

    name: str
    billions: float
    vision: VisionTower
    language: Language
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    head_dim: int = 128
    theta: float = 1e6
    eps: float = 1e-6
    window: int = 32768
    dynamic: float | None = 2.0  # The factor of the config's rotary scaling.
    tied: bool = False


_300M, _6B = VISION["300m"], VISION["6b"]
# fmt: off
SIZES = (
    Size("InternVL3-1B", 0.9, _300M, "qwen2", 896, 4864, 24, 14, 2, 151674, head_dim=64),
    Size("InternVL3-2B", 1.9, _300M, "qwen2", 1536, 8960, 28, 12, 2, 151674),
    Size("InternVL3-8B", 8.1, _300M, "qwen2", 3584, 18944, 28, 28, 4, 151674),
    Size("InternVL3-9B", 9.2, _300M, "internlm2", 4096, 10240, 48, 32, 2, 128142, theta=5e7, eps=1e-5),
    Size("InternVL3-14B", 15.1, _300M, "qwen2", 5120, 13824, 48, 40, 8, 151674),
    Size("InternVL3-38B", 38.4, _6B, "qwen2", 5120, 27648, 64, 40, 8, 151674),
    Size("InternVL3-78B", 78.4, _6B, "qwen2", 8192, 29568, 80, 64, 8, 151674),
    Size("InternVL2_5-2B", 2.2, _300M, "internlm2", 2048, 8192, 24, 16, 8, 92553, eps=1e-5),
    Size("InternVL2_5-8B", 8.1, _300M, "internlm2", 4096, 14336, 32, 32, 8, 92553, eps=1e-5),
    Size("InternVL2_5-26B", 25.5, _6B, "internlm2", 6144, 16384, 48, 48, 8, 92553, eps=1e-5),
    Size("InternVL3_5-1B", 1.1, _300M, "qwen3", 1024, 3072, 28, 16, 8, 151936, window=40960, dynamic=None),
    Size("InternVL3_5-4B", 4.7, _300M, "qwen3", 2560, 9728, 36, 32, 8, 151936, window=40960, dynamic=None),
    Size("InternVL3_5-8B", 8.5, _300M, "qwen3", 4096, 12288, 36, 32, 8, 151936, window=40960, dynamic=None),
    Size("InternVL3_5-14B", 15.1, _300M, "qwen3", 5120, 17408, 40, 40, 8, 151936, window=40960, dynamic=None),
    Size("InternVL3_5-38B", 38.4, _6B, "qwen3", 5120, 25600, 64, 64, 8, 151936, window=40960, dynamic=None),
)
# fmt: on
# Training can save these unpublished ones: an InternLM3 under its names, and a head tied to the embeddings.
UNPUBLISHED = (
    replace(SIZES[3], name="InternVL3-9B as InternLM3", language="internlm3", dynamic=6.0),
    replace(SIZES[0], name="InternVL3-1B tied", tied=True),
    replace(SIZES[10], name="InternVL3_5-1B tied", tied=True),
)


def config_json(size: Size, layout: Layout) -> dict[str, Any]:
    """Return `config.json` with the published keys that our code reads, and some that it must ignore."""
    return _opengvlab(size) if layout == "opengvlab" else _transformers(size)


def _opengvlab(size: Size) -> dict[str, Any]:
    newer = size.language == "qwen3"  # InternVL3.5
    text = _text(size)
    if size.language in ("internlm2", "internlm3"):
        kind = {"internlm2": "InternLM2Config", "internlm3": "InternLM3Config"}[size.language]
        text |= {"bias": False, "auto_map": {"AutoConfig": f"configuration_{size.language}.{kind}"}}
    if size.language == "qwen2":  # The published eos is `<|endoftext|>`, which doesn't end a turn.
        text |= {"bos_token_id": 151643, "eos_token_id": 151643, "max_window_layers": 70}
        text |= {"moe_config": None, "use_cache": False}
    vision = _vision(size.vision) | {
        "architectures": ["InternVisionModel"],
        "model_type": "intern_vit_6b",
        "image_size": size.vision.side,
        "patch_size": size.vision.patch,
        "qkv_bias": size.vision.qkv_bias,
        "qk_normalization": size.vision.qk_norm,
    }
    if size.language == "qwen2":
        vision |= {"initializer_factor": 0.1, "initializer_range": 1e-10, "tie_word_embeddings": True}
        vision |= {"use_moe": False, "num_experts": 8, "moe_intermediate_size": 768}
    config = {
        "architectures": ["InternVLChatModel"],
        "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": size.vision.side,
        "llm_config": text,
        "max_dynamic_patch": 12,
        "min_dynamic_patch": 1,
        "model_type": "internvl_chat",
        "pad2square": False,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internvl2_5",
        "tie_word_embeddings": size.tied,
        "transformers_version": None,
        "use_thumbnail": True,
        "vision_config": vision,
    }
    if newer:
        return config | {"eos_token_id": 151645, "pad_token_id": 151643}
    return config | {"hidden_size": size.hidden, "image_fold": None, "system_message": None}


def _transformers(size: Size) -> dict[str, Any]:
    text = _text(size)
    if size.language in ("internlm2", "internlm3"):
        text |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    else:
        text |= {"bos_token_id": 151643, "eos_token_id": 151645, "use_cache": True}
    if size.language == "qwen3":
        text["layer_types"] = ["full_attention"] * size.layers
    vision = _vision(size.vision) | {
        "model_type": "internvl_vision",
        "image_size": [size.vision.side] * 2,
        "patch_size": [size.vision.patch] * 2,
        "attention_bias": size.vision.qkv_bias,
        "use_qk_norm": size.vision.qk_norm,
        "use_mean_pooling": True,
        "initializer_factor": 0.1,
        "initializer_range": 1e-10,
        "layer_scale_init_value": 0.1,
    }
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "downsample_ratio": 0.5,
        "image_seq_length": 256,
        # The converter writes InternLM2's id for every Llama, also for the 9B, whose id is another one.
        "image_token_id": {"qwen2": 151667, "qwen3": 151671}.get(size.language, 92546),
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": size.tied,
        "vision_config": vision,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }


def _text(size: Size) -> dict[str, Any]:
    text: dict[str, Any] = {
        "architectures": [ARCHITECTURES[size.language]],
        "model_type": size.language,
        "hidden_act": "silu",
        "hidden_size": size.hidden,
        "intermediate_size": size.ffn,
        "max_position_embeddings": size.window,
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "num_key_value_heads": size.kv_heads,
        "rms_norm_eps": size.eps,
        "rope_theta": int(size.theta) if size.language == "qwen3" else size.theta,
        "rope_scaling": size.dynamic and {"factor": size.dynamic, "type": "dynamic"},
        "tie_word_embeddings": size.tied,
        "vocab_size": size.vocab,
    }
    if size.language in ("qwen2", "qwen3"):
        text |= {"sliding_window": None, "use_sliding_window": False}
    if size.language == "qwen3":
        text |= {"head_dim": size.head_dim, "attention_bias": False}
    return text


def _vision(tower: VisionTower) -> dict[str, Any]:
    return {
        "hidden_act": "gelu",
        "hidden_size": tower.hidden,
        "intermediate_size": tower.ffn,
        "layer_norm_eps": 1e-6,
        "norm_type": tower.norm,
        "num_attention_heads": tower.heads,
        "num_channels": 3,
        "num_hidden_layers": tower.layers,
    }
