"""Find out from a config whether the model is quantised, and whether its vision tower is.

vLLM does the arithmetic and reads the lists of exceptions too. But it misses patterns that are written in the
names of transformers' layout.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import transformers

# The keys under which the formats list unquantised modules: compressed-tensors; AWQ, GPTQ and FP8; FP8;
# ModelOpt; Quark.
_EXCEPTION_KEYS = ("ignore", "modules_to_not_convert", "ignored_layers", "exclude_modules", "exclude")
# The layers of the vision tower and their linear modules, in OpenGVLab's layout and in transformers' two.
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


@dataclass(frozen=True)
class WeightFormat:
    """How quantised weights are stored: `group_size` neighbours share a scale; 0 if a whole row does."""

    bits: int
    group_size: int

    @property
    def bytes_per_weight(self) -> float:
        """The bytes of one weight, with its part of the group's scale (16 bits) and zero point."""
        shared = (16 + self.bits) / self.group_size if self.group_size else 0
        return (self.bits + shared) / 8


def is_quantized(config: transformers.InternVLConfig) -> bool:
    """Return whether the checkpoint quantises the whole model or the language model."""
    return _description(config) is not None or _description(config.text_config) is not None


def vision_tower_is_unquantized(config: transformers.InternVLConfig) -> bool:
    """Return whether the language model is quantised and the vision tower isn't.

    This is so in two cases. Only the config of the language model (`llm_config`) describes a quantisation, as
    in OpenGVLab's AWQ checkpoints. Or every linear module of the tower is listed as an exception: by its
    name, a part of its name, a shell pattern, or a regular expression after `re:`.
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


def weight_format(config: transformers.InternVLConfig) -> WeightFormat:
    """Return the format of a quantised checkpoint's weights.

    A description that names no number of bits counts as 8 bits if it says FP8 and as 4 bits otherwise.
    """
    description = _description(config) or _description(config.text_config) or {}
    for group in (description.get("config_groups") or {}).values():  # of compressed-tensors
        description = {"bits": group["weights"].get("num_bits"), **group["weights"]}
    method = str(description.get("quant_method", ""))
    bits = description.get("bits") or description.get("w_bit") or (8 if "fp8" in method else 4)
    group_size = description.get("group_size") or description.get("q_group_size") or 0
    return WeightFormat(int(bits), max(0, int(group_size)))  # -1 means one scale for a whole row


def _description(config: Any) -> Mapping[str, Any] | None:
    # Old compressed-tensors checkpoints use the second name.
    return getattr(config, "quantization_config", None) or getattr(config, "compression_config", None)


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.match(pattern.removeprefix("re:"), name) is not None
    return fnmatchcase(name, pattern) or f".{pattern.strip('.')}." in f".{name}."
