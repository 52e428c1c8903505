"""Quantised checkpoints: which part is quantised, which tensors must be there; then in the engine."""

from typing import Any

import pytest
from transformers import InternVLConfig

from model.quantization import is_quantized, leaves_tower_alone

OPENGVLAB = [
    f"vision_model.encoder.layers.{layer}.{module}"
    for layer in range(2)
    for module in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
]
TRANSFORMERS = [
    f"vision_tower.encoder.layer.{layer}.{module}"
    for layer in range(2)
    for module in ("attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.projection_layer",
                   "mlp.fc1", "mlp.fc2")
]  # fmt: skip

IN_MEMORY = [f"model.{name}" for name in TRANSFORMERS]


def config(whole: dict[str, Any] | None = None, language_model: dict[str, Any] | None = None) -> Any:
    made = InternVLConfig(vision_config={"num_hidden_layers": 2})
    if whole is not None:
        made.quantization_config = whole
    if language_model is not None:
        made.text_config.quantization_config = language_model
    return made


@pytest.mark.parametrize(
    ("made", "quantized", "alone"),
    [
        (config(), False, False),
        (config(language_model={"quant_method": "awq"}), True, True),
        (config({"quant_method": "fp8"}), True, False),
        (config({"quant_method": "fp8", "ignored_layers": ["lm_head"]}), True, False),
        (config({"quant_method": "compressed-tensors", "ignore": ["re:.*vision_tower.*"]}), True, True),
        (config({"quant_method": "compressed-tensors", "ignore": ["re:.*vision.*", "lm_head"]}), True, True),
        (config({"quant_method": "compressed-tensors", "ignore": ["re:.*mlp.*"]}), True, False),
        (config({"quant_method": "compressed-tensors", "ignore": TRANSFORMERS}), True, True),
        (config({"quant_method": "compressed-tensors", "ignore": TRANSFORMERS[1:]}), True, False),
        (config({"quant_method": "compressed-tensors", "ignore": IN_MEMORY}), True, True),
        (config({"quant_method": "compressed-tensors", "ignore": OPENGVLAB}), True, True),
        (config({"quant_method": "awq", "modules_to_not_convert": ["vision_model"]}), True, True),
        (config({"quant_method": "awq", "modules_to_not_convert": ["vision"]}), True, False),
        (config({"quant_method": "awq", "modules_to_not_convert": None}), True, False),
        (config({"quant_method": "modelopt", "exclude_modules": ["*vision_tower*", "lm_head"]}), True, True),
    ],
)  # fmt: skip
def test_what_the_config_says_is_quantised(made: Any, quantized: bool, alone: bool):
    assert is_quantized(made) == quantized
    assert leaves_tower_alone(made) == alone
