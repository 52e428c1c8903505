"""Both directions of the name map, against the names that transformers' own model has."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import InternVLConfig, InternVLForConditionalGeneration

from model.config import InternVLChatConfig
from model.weights import (
    config_to_opengvlab,
    config_to_transformers,
    fuse_qkv,
    missing_tensors,
    opengvlab_name,
    to_opengvlab,
    to_transformers,
    transformers_name,
)
from tests.checkpoints import random_model

PUBLISHED = {
    "vision_model.embeddings.class_embedding": "model.vision_tower.embeddings.cls_token",
    "vision_model.embeddings.position_embedding": "model.vision_tower.embeddings.position_embeddings",
    "vision_model.embeddings.patch_embedding.weight": (
        "model.vision_tower.embeddings.patch_embeddings.projection.weight"
    ),
    "vision_model.encoder.layers.10.attn.proj.bias": (
        "model.vision_tower.encoder.layer.10.attention.projection_layer.bias"
    ),
    "vision_model.encoder.layers.3.attn.q_norm.weight": (
        "model.vision_tower.encoder.layer.3.attention.q_norm.weight"
    ),
    "vision_model.encoder.layers.3.norm1.bias": "model.vision_tower.encoder.layer.3.layernorm_before.bias",
    "vision_model.encoder.layers.3.norm2.bias": "model.vision_tower.encoder.layer.3.layernorm_after.bias",
    "vision_model.encoder.layers.3.ls1": "model.vision_tower.encoder.layer.3.lambda_1",
    "vision_model.encoder.layers.3.ls2": "model.vision_tower.encoder.layer.3.lambda_2",
    "vision_model.encoder.layers.3.mlp.fc1.weight": "model.vision_tower.encoder.layer.3.mlp.fc1.weight",
    "mlp1.0.weight": "model.multi_modal_projector.layer_norm.weight",
    "mlp1.1.bias": "model.multi_modal_projector.linear_1.bias",
    "mlp1.3.weight": "model.multi_modal_projector.linear_2.weight",
    "language_model.model.layers.5.self_attn.q_proj.weight": (
        "model.language_model.layers.5.self_attn.q_proj.weight"
    ),
    "language_model.model.norm.weight": "model.language_model.norm.weight",
    "language_model.lm_head.weight": "lm_head.weight",
}


@pytest.fixture(scope="module")
def model() -> InternVLForConditionalGeneration:
    return random_model(262, 261, tied=False, seed=3)


@pytest.mark.parametrize(("opengvlab", "transformers"), PUBLISHED.items())
def test_names_map_both_ways(opengvlab: str, transformers: str):
    assert opengvlab_name(transformers) == opengvlab
    assert transformers_name(opengvlab) == transformers
    assert opengvlab_name(opengvlab) == opengvlab


def test_a_state_dict_survives_the_round_trip(model: InternVLForConditionalGeneration):
    state = model.state_dict()
    back = to_transformers(to_opengvlab(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_saved_names_map_like_names_in_memory(model: InternVLForConditionalGeneration, tmp_path: Path):
    model.save_pretrained(tmp_path)
    saved = to_opengvlab(load_file(tmp_path / "model.safetensors"))
    expected = to_opengvlab(model.state_dict())
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in saved)


def test_q_k_and_v_are_stacked_in_this_order(model: InternVLForConditionalGeneration):
    attention = model.model.vision_tower.encoder.layer[1].attention
    fused = to_opengvlab(model.state_dict())["vision_model.encoder.layers.1.attn.qkv.weight"]
    parts = (attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
    assert torch.equal(fused, torch.cat(parts))


def test_parts_are_joined_in_any_order_and_the_rest_streams_through():
    layer = "vision_model.encoder.layers.0.attn."
    parts = [(f"{layer}{part}_proj.bias", torch.tensor([float(i)])) for i, part in enumerate("qkv")]
    stream = [parts[2], ("mlp1.0.weight", torch.zeros(1)), parts[0], parts[1]]
    names = [name for name, _ in fuse_qkv(stream)]
    assert names == ["mlp1.0.weight", f"{layer}qkv.bias"]
    assert dict(fuse_qkv(stream))[f"{layer}qkv.bias"].tolist() == [0.0, 1.0, 2.0]


def test_a_missing_part_is_named():
    parts = [(f"vision_model.encoder.layers.4.attn.{p}_proj.weight", torch.zeros(1)) for p in "qv"]
    with pytest.raises(
        ValueError, match=r"lacks vision_tower\.encoder\.layer\.4\.attention\.k_proj\.weight$"
    ):
        list(fuse_qkv(parts))


def test_a_foreign_name_is_refused():
    with pytest.raises(ValueError, match=r"'transformer\.h\.0'"):
        to_transformers({"transformer.h.0": torch.zeros(1)})


def test_a_config_survives_the_round_trip(model: InternVLForConditionalGeneration):
    config = config_to_opengvlab(model.config, min_dynamic_patch=2, max_dynamic_patch=5)
    assert (config["min_dynamic_patch"], config["max_dynamic_patch"]) == (2, 5)
    back = InternVLConfig(**config_to_transformers(config, image_token_id=261))
    rebuilt = InternVLForConditionalGeneration(back)
    rebuilt.load_state_dict(to_transformers(to_opengvlab(model.state_dict())))
    assert back.text_config.rope_parameters == model.config.text_config.rope_parameters
    assert back.image_seq_length == model.config.image_seq_length


def test_a_rotary_scaling_is_kept_in_the_config(model: InternVLForConditionalGeneration):
    config = InternVLConfig(**config_to_transformers(config_to_opengvlab(model.config), image_token_id=261))
    config.text_config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}
    written = config_to_opengvlab(config)["llm_config"]
    assert written["rope_theta"] == 1e6
    assert written["rope_scaling"] == {"type": "dynamic", "factor": 2.0}


@pytest.mark.parametrize("tied", [False, True])
def test_missing_tensors_are_found_in_either_layout(model: InternVLForConditionalGeneration, tied: bool):
    state = model.state_dict()
    config = InternVLChatConfig.from_dict(config_to_opengvlab(model.config) | {"tie_word_embeddings": tied})
    assert missing_tensors(config, state) == []
    assert missing_tensors(config, to_opengvlab(state)) == []
    assert missing_tensors(config, state.keys() - {"lm_head.weight"}) == ([] if tied else ["lm_head.weight"])
    # One of three stacked tensors: the engine's own parameter would look loaded.
    gone = "language_model.model.layers.1.self_attn.k_proj.bias"
    assert missing_tensors(config, to_opengvlab(state).keys() - {gone}) == [gone]
