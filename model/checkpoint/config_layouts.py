"""Convert `config.json` between the two layouts of InternVL checkpoints.

Source: OpenGVLab/InternVL `internvl_chat/tools/internvl_custom2hf.py` and `configuration_internvl_chat.py`,
transformers' `convert_internvl_weights_to_hf.py`.
"""

from collections.abc import Mapping
from typing import Any

from .backbones import language_config
from .templates import DEFAULT_TEMPLATE

# Keys that have another name in OpenGVLab's vision config, as (transformers, OpenGVLab).
_VISION_KEYS = (
    ("attention_bias", "qkv_bias"),
    ("use_qk_norm", "qk_normalization"),
    ("layer_scale_init_value", "initializer_factor"),
)
_SHARED_VISION_KEYS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "norm_type",
    "layer_norm_eps", "num_channels", "initializer_range",
)  # fmt: skip
# The defaults of OpenGVLab's `InternVisionConfig`: InternViT-6B as it was first published.
VISION_DEFAULTS = {
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "num_hidden_layers": 48,
    "num_attention_heads": 25,
    "image_size": 224,
    "patch_size": 14,
    "qkv_bias": False,
    "qk_normalization": True,
    "norm_type": "rms_norm",
    "layer_norm_eps": 1e-6,
    "hidden_act": "gelu",
    "initializer_factor": 0.1,
}
# The defaults of OpenGVLab's `InternVLChatConfig`. All released checkpoints name these keys.
CHAT_DEFAULTS: dict[str, Any] = {
    "dynamic_image_size": False,
    "use_thumbnail": False,
    "ps_version": "v1",
    "min_dynamic_patch": 1,
    "max_dynamic_patch": 6,
    "downsample_ratio": 0.5,
    "select_layer": -1,
    "force_image_size": None,
}
_ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}


def config_to_opengvlab(
    config: Any, *, min_dynamic_patch: int = 1, max_dynamic_patch: int = 12, use_thumbnail: bool = True
) -> dict[str, Any]:
    """Return `config.json` in the OpenGVLab layout for a transformers `InternVLConfig`.

    The tile limits are arguments, because transformers keeps them in the image processor's file, not in the
    config.
    """
    vision, text = config.vision_config, config.to_diff_dict()["text_config"]
    rope = text.pop("rope_parameters")
    text |= {
        "architectures": [_ARCHITECTURES[config.text_config.model_type]],
        "rope_theta": rope["rope_theta"],
        "rope_scaling": None,
    }
    if rope.get("rope_type", "default") != "default":
        text["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}
    text["tie_word_embeddings"] = config.tie_word_embeddings
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
        "template": DEFAULT_TEMPLATE,
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": str(config.dtype or "float32").removeprefix("torch."),
        "use_thumbnail": use_thumbnail,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "image_size": vision.image_size[0],
            "patch_size": vision.patch_size[0],
            **{key: getattr(vision, key) for key in _SHARED_VISION_KEYS},
            **{opengvlab: getattr(vision, key) for key, opengvlab in _VISION_KEYS},
        },
    }


def config_to_transformers(config: Mapping[str, Any], image_token_id: int) -> dict[str, Any]:
    """Return the arguments of transformers' `InternVLConfig` for an OpenGVLab `config.json`.

    `image_token_id` is the id of `<IMG_CONTEXT>`, which only the tokenizer holds in the OpenGVLab layout.
    Raises as `language_config` does.
    """
    vision, text = VISION_DEFAULTS | config["vision_config"], language_config(config["llm_config"])
    # InternVL3's code never ties the output head; InternVL3.5's code follows the language model's config. The
    # weights agree with both: a head is tied where the checkpoint holds none. `tied` only permits that.
    tied = bool(config.get("tie_word_embeddings") or text.get("tie_word_embeddings"))
    tile_size, patch_size = config.get("force_image_size") or vision["image_size"], vision["patch_size"]
    ratio = config.get("downsample_ratio", CHAT_DEFAULTS["downsample_ratio"])
    return {
        "text_config": text | {"tie_word_embeddings": tied},
        "vision_config": {
            "image_size": [vision["image_size"]] * 2,
            "patch_size": [patch_size] * 2,
            **{key: vision[key] for key in _SHARED_VISION_KEYS if key in vision},
            **{key: vision[opengvlab] for key, opengvlab in _VISION_KEYS},
        },
        "image_token_id": image_token_id,
        "image_seq_length": int((tile_size // patch_size) ** 2 * ratio**2),
        "downsample_ratio": ratio,
        "vision_feature_layer": config.get("select_layer", CHAT_DEFAULTS["select_layer"]),
        "tie_word_embeddings": tied,
    }
