"""Quantised checkpoints: which part is quantised, which tensors must be there; then in the engine."""

from typing import Any

import pytest
from transformers import InternVLConfig

from model.checkpoint.quantization import is_quantized, vision_tower_is_unquantized
from tests.checkpoints import build_checkpoint
from tests.model.engine_series import engine, furthest, questions, run_series, tokens
from tests.model.quantized import GROUP, awq, compressed, dequantized, gptq, quantize

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
    assert vision_tower_is_unquantized(made) == alone


FOUR_BITS = {
    "targets": ["Linear"],
    "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP},
}
COMPRESSED = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "quantization_status": "compressed",
    "config_groups": {"group_0": FOUR_BITS},
}
AWQ = {"quant_method": "awq", "version": "gemm", "bits": 4, "group_size": GROUP, "zero_point": True}
GPTQ = {
    "quant_method": "gptq",
    "bits": 4,
    "group_size": GROUP,
    "sym": True,
    "desc_act": False,
    "lm_head": False,
}
REST = ["multi_modal_projector.linear_1", "multi_modal_projector.linear_2", "lm_head"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, engine_env: dict[str, str]) -> dict[str, Any]:
    """Answers of checkpoints with the same weights in different forms, the language model's in four bits."""
    folder = tmp_path_factory.mktemp("quantized")
    ours = build_checkpoint(folder / "ours", "opengvlab")
    theirs = build_checkpoint(folder / "theirs", "transformers")
    made = {
        "original": ours,
        "dequantized": quantize(ours, folder / "dequantized", dequantized),
        "awq": quantize(ours, folder / "awq", awq, language=AWQ),  # as OpenGVLab publishes them
        "gptq": quantize(ours, folder / "gptq", gptq, whole=GPTQ),
        "named": quantize(
            theirs, folder / "named", compressed, whole=COMPRESSED | {"ignore": TRANSFORMERS + REST}
        ),
        "pattern": quantize(
            theirs,
            folder / "pattern",
            compressed,
            whole=COMPRESSED | {"ignore": ["re:.*vision_tower.*", *REST]},
        ),
    }
    asked = questions(folder)
    engines = [engine(name, path, asked, dtype="bfloat16") for name, path in made.items()]
    return run_series(engines, folder, engine_env)[0]


@pytest.mark.engine
@pytest.mark.parametrize("form", ["awq", "gptq", "named", "pattern"])
def test_quantised_weights_answer_as_what_they_stand_for(form: str, results: dict[str, Any]):
    expected = results["dequantized"]["answers"]
    assert tokens(results[form]["answers"]) == tokens(expected)
    assert furthest(results[form]["answers"], expected) < 1e-3
    assert furthest(results["original"]["answers"], expected) > 0.1  # four bits are felt
