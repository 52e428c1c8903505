"""The quantised parts of a checkpoint are found, and the engine serves quantised checkpoints."""

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


def config(top: dict[str, Any] | None = None, language_model: dict[str, Any] | None = None) -> Any:
    """Return a model config with quantisation configs at the top and in the language model's part."""
    checkpoint_config = InternVLConfig(vision_config={"num_hidden_layers": 2})
    if top is not None:
        checkpoint_config.quantization_config = top
    if language_model is not None:
        checkpoint_config.text_config.quantization_config = language_model
    return checkpoint_config


@pytest.mark.parametrize(
    ("checkpoint_config", "quantized", "tower_is_unquantized"),
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
def test_the_config_tells_which_parts_are_quantised(
    checkpoint_config: Any, quantized: bool, tower_is_unquantized: bool
):
    assert is_quantized(checkpoint_config) == quantized
    assert vision_tower_is_unquantized(checkpoint_config) == tower_is_unquantized


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
UNQUANTIZED = ["multi_modal_projector.linear_1", "multi_modal_projector.linear_2", "lm_head"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, engine_env: dict[str, str]) -> dict[str, Any]:
    """Return answers of checkpoints with the same weights in different forms, four bits in most of them."""
    folder = tmp_path_factory.mktemp("quantized")
    opengvlab = build_checkpoint(folder / "opengvlab", "opengvlab")
    transformers = build_checkpoint(folder / "transformers", "transformers")
    checkpoints = {
        "original": opengvlab,
        "dequantized": quantize(opengvlab, folder / "dequantized", dequantized),
        # OpenGVLab publishes AWQ checkpoints with the config in the language model's part.
        "awq": quantize(opengvlab, folder / "awq", awq, language=AWQ),
        "gptq": quantize(opengvlab, folder / "gptq", gptq, top=GPTQ),
        "named": quantize(
            transformers,
            folder / "named",
            compressed,
            top=COMPRESSED | {"ignore": TRANSFORMERS + UNQUANTIZED},
        ),
        "pattern": quantize(
            transformers,
            folder / "pattern",
            compressed,
            top=COMPRESSED | {"ignore": ["re:.*vision_tower.*", *UNQUANTIZED]},
        ),
    }
    requests = questions(folder)
    engines = [engine(name, path, requests, dtype="bfloat16") for name, path in checkpoints.items()]
    return run_series(engines, folder, engine_env)[0]


@pytest.mark.engine
@pytest.mark.parametrize("form", ["awq", "gptq", "named", "pattern"])
def test_quantised_weights_answer_as_the_dequantised_ones(form: str, results: dict[str, Any]):
    """All forms use one kernel and agree. A CPU with AMX has another kernel for the dequantised bfloat16
    weights, whose rounding is a tenth of what the four bits change.
    """
    answers, expected = results[form]["answers"], results["dequantized"]["answers"]
    four_bits = furthest(results["original"]["answers"], expected)
    assert four_bits > 0.5
    assert tokens(answers) == tokens(expected)
    assert furthest(answers, expected) < 0.2 * four_bits
    assert furthest(answers, results["awq"]["answers"]) < 1e-3
