"""Module names of both layouts, as adapters and quantisation configs have them, become our names."""

import pytest

from model.plugin.network.module_names import CheckpointNameMapper, module_name


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        # OpenGVLab's names are the same as ours.
        ("vision_model.encoder.layers.0.attn.qkv", "vision_model.encoder.layers.0.attn.qkv"),
        ("language_model.model.layers.7.self_attn.q_proj", "language_model.model.layers.7.self_attn.q_proj"),
        ("language_model.lm_head", "language_model.lm_head"),
        # These are transformers' names, as saved and as in memory.
        ("vision_tower", "vision_model"),
        ("vision_tower.encoder.layer.3.mlp.fc1", "vision_model.encoder.layers.3.mlp.fc1"),
        ("model.vision_tower.encoder.layer.3.attention.k_proj", "vision_model.encoder.layers.3.attn.qkv"),
        ("vision_tower.encoder.layer.0.attention.projection_layer",
         "vision_model.encoder.layers.0.attn.proj"),
        ("multi_modal_projector.linear_2", "mlp1.3"),
        ("model.language_model.layers.7.mlp.up_proj", "language_model.model.layers.7.mlp.up_proj"),
        ("lm_head", "language_model.lm_head"),
        # This is a name in the bare language model.
        ("model.layers.7.mlp.up_proj", "language_model.model.layers.7.mlp.up_proj"),
        # These are a class of modules and the end of a module's name.
        ("Linear", "Linear"),
        ("self_attn.o_proj", "self_attn.o_proj"),
    ],
)  # fmt: skip
def test_a_module_has_one_name(published: str, ours: str):
    assert module_name(published) == ours
    assert CheckpointNameMapper().get_rename_mapper().apply_list([published]) == [ours]


@pytest.mark.parametrize(
    "part", ["vision_model.encoder.layers.0.attn.qkv", "model.vision_tower.encoder.layer.0.mlp.fc1", "mlp1.1"]
)
def test_an_adapter_outside_the_language_model_is_refused(part: str):
    with pytest.raises(ValueError, match="only adapters of the language model"):
        CheckpointNameMapper().map_name(f"{part}.lora_A.weight")
