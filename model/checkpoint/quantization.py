"""What a quantised checkpoint says about itself: which part is quantised, and which tensors it must hold.

The arithmetic is vLLM's. But its look at a config's lists misses patterns that are written in the names of
transformers' layout, and its check for missing tensors is off for quantised checkpoints.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import transformers

# Where the formats list what they leave alone: compressed-tensors; AWQ, GPTQ and FP8; FP8; ModelOpt; Quark.
_EXCEPTION_KEYS = ("ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules", "exclude")
# A layer of the vision tower and its linear modules, in OpenGVLab's layout and in transformers' two.
_OPENGVLAB = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
_TRANSFORMERS = ("q_proj", "k_proj", "v_proj", "projection_layer")
_TOWERS = (
    ("vision_model.encoder.layers", _OPENGVLAB),
    *(
        (
            f"{prefix}vision_tower.encoder.layer",
            (*(f"attention.{m}" for m in _TRANSFORMERS), "mlp.fc1", "mlp.fc2"),
        )
        for prefix in ("", "model.")
    ),
)


def is_quantized(config: transformers.InternVLConfig) -> bool:
    """Whether the checkpoint holds quantised weights, of the whole model or of the language model."""
    return _description(config) is not None or _description(config.text_config) is not None


def vision_tower_is_unquantized(config: transformers.InternVLConfig) -> bool:
    """Whether the vision tower isn't quantised though the language model is.

    So it is where only the language model's own config (`llm_config`) speaks of quantisation, as in
    OpenGVLab's AWQ checkpoints, or where every linear module of the tower is listed as an exception: by its
    name, by a part of it, by a shell pattern, or by a regular expression behind `re:`.
    """
    description = _description(config)
    if description is None:
        return _description(config.text_config) is not None
    exceptions = [pattern for key in _EXCEPTION_KEYS for pattern in description.get(key) or ()]
    layers = range(config.vision_config.num_hidden_layers)
    return any(
        all(
            any(_matches(pattern, f"{tower}.{layer}.{module}") for pattern in exceptions)
            for layer in layers
            for module in modules
        )
        for tower, modules in _TOWERS
    )


def _description(config: Any) -> Mapping[str, Any] | None:
    # The second name is that of old compressed-tensors checkpoints.
    return getattr(config, "quantization_config", None) or getattr(config, "compression_config", None)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.match(pattern.removeprefix("re:"), name) is not None
    return fnmatchcase(name, pattern) or f".{pattern.strip('.')}." in f".{name}."
