"""LoRA adapters change nothing at first, are all that is trained, and merge as peft merges them."""

import copy
from dataclasses import replace

import pytest
import torch
from peft import inject_adapter_in_model
from peft.tuners.lora import LoraLayer

from tests.ttscaling.train.data.material import tiny_model
from tests.ttscaling.train.jobs import recipe
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.lora import adapter_size, adapter_tensors, add_adapters, lora_config, merged

RECIPE = replace(recipe(), parts=("language",), lora_rank=4, lora_alpha=12.0)


@pytest.fixture
def adapted() -> V2PEInternVL:
    torch.manual_seed(0)
    model = tiny_model()
    add_adapters(model, RECIPE)
    return model


def logits(model: V2PEInternVL) -> torch.Tensor:
    ids_1T = torch.arange(5, 45)[None]
    with torch.no_grad():
        return model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits


def randomise(model: V2PEInternVL) -> None:
    generator = torch.Generator().manual_seed(1)
    for tensor in adapter_tensors(model.state_dict()).values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)


def test_a_fresh_adapter_changes_nothing_and_a_trained_one_does(adapted: V2PEInternVL) -> None:
    plain = logits(tiny_model())
    torch.testing.assert_close(logits(adapted), plain, rtol=0, atol=0)
    randomise(adapted)
    assert (logits(adapted) - plain).abs().max() > 0.1


def test_only_adapters_of_every_linear_layer_of_the_language_model_are_trained(adapted: V2PEInternVL) -> None:
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    layers = range(adapted.config.text_config.num_hidden_layers)
    attention = [f"self_attn.{part}_proj" for part in "qkvo"]
    modules = [*attention, *(f"mlp.{part}_proj" for part in ("gate", "up", "down"))]
    assert trained == {
        f"model.language_model.layers.{layer}.{module}.lora_{matrix}.default.weight"
        for layer in layers
        for module in modules
        for matrix in "AB"
    }
    numbers = [p.numel() for p in adapted.parameters() if p.requires_grad]
    assert adapter_size(tiny_model(), 4) == sum(numbers) == adapter_size(adapted, 4)


def test_merging_is_pefts_own(adapted: V2PEInternVL) -> None:
    """peft merges in its layers, and `merged` from the tensors that a run gathers from its processes."""
    randomise(adapted)
    expected = logits(adapted)
    plain = tiny_model()
    plain.load_state_dict(merged(adapted.state_dict(), RECIPE))
    torch.testing.assert_close(logits(plain), expected, rtol=0, atol=1e-3)
    theirs = copy.deepcopy(adapted)
    for module in theirs.modules():
        if isinstance(module, LoraLayer):
            module.merge()
    for name, tensor in plain.state_dict().items():
        if "_proj.weight" in name and "language_model" in name:
            stem = name.removesuffix(".weight")
            torch.testing.assert_close(theirs.get_submodule(stem).get_base_layer().weight, tensor)


def test_the_adapters_are_fp32_over_frozen_weights_in_bf16() -> None:
    model = tiny_model().to(torch.bfloat16)
    add_adapters(model, RECIPE)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    randomise(model)
    ids_1T = torch.arange(5, 45)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits).all()


def test_the_config_is_the_same_before_and_after_the_adapters_are_in(adapted: V2PEInternVL) -> None:
    before = lora_config(tiny_model(), RECIPE)
    assert before.to_dict() == lora_config(adapted, RECIPE).to_dict()
    assert (before.r, before.lora_alpha) == (4, 12)
    again = tiny_model()
    inject_adapter_in_model(before, again)
    assert again.state_dict().keys() == adapted.state_dict().keys()
