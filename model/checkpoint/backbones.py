"""The language models of InternVL checkpoints, described by transformers' config classes.

transformers has no class for InternLM2 and InternLM3; their checkpoints bring code beside the weights. That
code is never run, because both models are Llama, and InternLM2 only has other names for its tensors
(docs/decisions/0009). Sources: OpenGVLab/InternVL `configuration_internlm2.py`, `modeling_internlm2.py` and
issue 1267 (the 9B, which builds on InternLM3, is published as InternLM2); vLLM's registry, which serves
InternLM3 as Llama.
"""

from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING

LANGUAGE_MODELS = ("qwen2", "qwen3", "llama")
"""The model types of transformers that the engine serves."""

_MODEL_TYPES = {
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "LlamaForCausalLM": "llama",
    "InternLM2ForCausalLM": "internlm2",
    "InternLM3ForCausalLM": "internlm3",
}
# The defaults of the published config classes, where they differ from those of transformers' Llama.
_INTERNLM_DEFAULTS = {
    "internlm2": {"vocab_size": 103168, "bias": True, "rms_norm_eps": 1e-6},
    "internlm3": {"vocab_size": 128512, "bias": False, "rms_norm_eps": 1e-5},
}


class UnsupportedLanguageModel(ValueError):
    """The error for a language model for which V2PE isn't available here."""


def language_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a language model's part of `config.json` for transformers; InternLM becomes a Llama.

    Args:
        config: `llm_config` or `text_config` as published.

    Raises:
        ValueError: neither an architecture nor a model type is named, transformers has no class for it, or an
            InternLM3 has biases in its attention alone or in its MLP alone, which Llama can't express.
    """
    architecture = (config.get("architectures") or [None])[0]
    # OpenGVLab's code chooses by the architecture and ignores the model type.
    model_type = _MODEL_TYPES.get(architecture, config.get("model_type", architecture))
    if model_type is None:
        raise ValueError(
            "config.json doesn't name its language model: add a model_type to llm_config or text_config"
        )
    if model_type not in _INTERNLM_DEFAULTS:
        if model_type not in CONFIG_MAPPING:
            raise ValueError(
                f"transformers has no class for the language model {model_type!r}: use another checkpoint"
            )
        return dict(config) | {"model_type": model_type}
    settings: dict[str, Any] = {**_INTERNLM_DEFAULTS[model_type], **config}
    bias = settings.pop("bias")
    if settings.pop("qkv_bias", bias) != bias:
        raise ValueError(
            "InternLM3 with biases in only some of its layers isn't supported: "
            "use a checkpoint whose bias and qkv_bias are equal"
        )
    for key in ("auto_map", "attn_implementation"):
        settings.pop(key, None)
    return settings | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": bias,
        "mlp_bias": bias and model_type == "internlm3",
    }


def require_language_model(text_config: Any) -> None:
    """Check that V2PE is defined for a language model, and remove its rotary scaling.

    The authors' code switches dynamic NTK off whenever V2PE is on, so the rotary base is the plain theta.

    Args:
        text_config: transformers' config; its `rope_parameters` are replaced.

    Raises:
        UnsupportedLanguageModel: the language model isn't supported, or V2PE isn't defined for its rotary
            embedding.
    """
    if text_config.model_type not in LANGUAGE_MODELS:
        raise UnsupportedLanguageModel(
            f"the language model {text_config.model_type!r} isn't supported: use "
            f"{', '.join(LANGUAGE_MODELS[:-1])} or {LANGUAGE_MODELS[-1]}"
        )
    rope = text_config.rope_parameters
    if rope.get("rope_type", "default") not in ("default", "dynamic"):
        raise UnsupportedLanguageModel(
            f"V2PE isn't defined for the rotary scaling {rope['rope_type']!r}: "
            "use a checkpoint without rotary scaling, or with dynamic"
        )
    if rope.get("partial_rotary_factor", 1) != 1:
        raise UnsupportedLanguageModel(
            "V2PE isn't defined for a partial rotary embedding: use a checkpoint that rotates every channel"
        )
    text_config.rope_parameters = {"rope_type": "default", "rope_theta": rope["rope_theta"]}


def head_dim(text_config: Any) -> int:
    """Return the channels of one attention head.

    Qwen3's config holds the number; in the other models the heads share the hidden size equally.
    """
    configured: int | None = getattr(text_config, "head_dim", None)
    return configured or text_config.hidden_size // text_config.num_attention_heads
