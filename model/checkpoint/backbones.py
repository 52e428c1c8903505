"""Language models that InternVL checkpoints are built on, as transformers' config classes describe them.

InternLM2 and InternLM3 have no class in transformers, only code beside their weights, which is never run:
both are Llama, InternLM2 under other names (docs/decisions/0009). Sources: OpenGVLab/InternVL
`configuration_internlm2.py`, `modeling_internlm2.py` and issue 1267 (the 9B, which builds on InternLM3, is
published as InternLM2); vLLM's registry, which serves InternLM3 as Llama.
"""

from collections.abc import Mapping
from typing import Any

LANGUAGE_MODELS = ("qwen2", "qwen3", "llama")
"""Model types of transformers that the engine serves."""

_MODEL_TYPES = {
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "LlamaForCausalLM": "llama",
    "InternLM2ForCausalLM": "internlm2",
    "InternLM3ForCausalLM": "internlm3",
}
# What the published config classes take where a key is absent, if it isn't what transformers' Llama takes.
_INTERNLM_DEFAULTS = {
    "internlm2": {"vocab_size": 103168, "bias": True, "rms_norm_eps": 1e-6},
    "internlm3": {"vocab_size": 128512, "bias": False, "rms_norm_eps": 1e-5},
}


def language_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A language model's part of `config.json` for transformers: InternLM becomes the Llama that it is.

    Args:
        config: `llm_config` or `text_config` as published.

    Raises:
        ValueError: neither an architecture nor a model type is named; an InternLM3 whose attention and MLP
            don't agree on biases, which Llama can't express.
    """
    architecture = (config.get("architectures") or [None])[0]
    # OpenGVLab's code goes by the architecture and ignores the model type.
    model_type = _MODEL_TYPES.get(architecture, config.get("model_type", architecture))
    if model_type is None:
        raise ValueError("config.json doesn't say which language model it is: give it a model_type")
    if model_type not in _INTERNLM_DEFAULTS:
        return dict(config) | {"model_type": model_type}
    given: dict[str, Any] = {**_INTERNLM_DEFAULTS[model_type], **config}
    bias = given.pop("bias")
    if given.pop("qkv_bias", bias) != bias:
        raise ValueError("InternLM3 with biases in some of its layers isn't supported: bias must be qkv_bias")
    for key in ("auto_map", "attn_implementation"):
        given.pop(key, None)
    return given | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": bias,
        "mlp_bias": bias and model_type == "internlm3",
    }


def require_language_model(text_config: Any) -> None:
    """Checks that V2PE is defined for a language model, and takes its rotary scaling off.

    The authors' code switches dynamic NTK off whenever V2PE is on: the rotary base is the plain theta.

    Args:
        text_config: transformers' config; its `rope_parameters` are replaced.

    Raises:
        ValueError: a language model that isn't supported, or a rotary embedding that V2PE doesn't define.
    """
    if text_config.model_type not in LANGUAGE_MODELS:
        raise ValueError(
            f"the language model {text_config.model_type!r} isn't supported: use "
            f"{', '.join(LANGUAGE_MODELS[:-1])} or {LANGUAGE_MODELS[-1]}"
        )
    rope = text_config.rope_parameters
    if rope.get("rope_type", "default") not in ("default", "dynamic"):
        raise ValueError(f"V2PE with rotary scaling {rope['rope_type']!r} isn't defined: use the plain base")
    if rope.get("partial_rotary_factor", 1) != 1:
        raise ValueError("V2PE with a partial rotary embedding isn't defined: every channel must rotate")
    text_config.rope_parameters = {"rope_type": "default", "rope_theta": rope["rope_theta"]}


def head_dim(text_config: Any) -> int:
    """Channels of one attention head: Qwen3 says it, elsewhere the heads share the hidden size."""
    own: int | None = getattr(text_config, "head_dim", None)
    return own or text_config.hidden_size // text_config.num_attention_heads
