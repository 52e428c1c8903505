"""Tensors of both layouts convert to the state dicts of transformers' model and back."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import InternVLForConditionalGeneration

from model.checkpoint.config import InternVLChatConfig
from model.checkpoint.config_layouts import config_to_opengvlab
from model.checkpoint.missing import missing_tensors
from model.checkpoint.tensors import fuse_qkv, split_wqkv, to_opengvlab, to_transformers
from tests.checkpoints import random_model


@pytest.fixture(scope="module")
def model() -> InternVLForConditionalGeneration:
    return random_model(262, 261, tied=False, seed=3)


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


def test_parts_are_joined_in_any_order_and_other_tensors_stream_through():
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


def test_parts_may_wait_for_a_later_call():
    layer = "vision_model.encoder.layers.0.attn."
    parts = [(f"{layer}{part}_proj.bias", torch.tensor([float(i)])) for i, part in enumerate("qkv")]
    waiting: dict[str, dict[str, torch.Tensor]] = {}
    assert list(fuse_qkv([parts[1], parts[0]], waiting)) == []
    (name, tensor) = next(fuse_qkv([parts[2]], waiting))
    assert (name, tensor.tolist()) == (f"{layer}qkv.bias", [0.0, 1.0, 2.0])
    assert list(fuse_qkv([], waiting)) == [] and not waiting


@pytest.mark.parametrize("kind", ["weight", "qweight", "bias", "weight_scale_inv"])
def test_wqkv_is_split_by_kv_head(kind: str):
    """The values are row numbers, for 2 kv heads of 2 channels, each after its 3 query heads."""
    rows = torch.arange(2 * (3 + 1 + 1) * 2)
    tensor = rows if kind == "bias" else rows[None].expand(7, -1) if kind == "qweight" else rows[:, None]
    layer = "language_model.model.layers.3.self_attn."
    parts = dict(split_wqkv([(f"{layer}wqkv.{kind}", tensor)], num_heads=6, num_kv_heads=2))
    got = {name: (t[0] if kind == "qweight" else t.flatten()).tolist() for name, t in parts.items()}
    assert got == {
        f"{layer}q_proj.{kind}": [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15],
        f"{layer}k_proj.{kind}": [6, 7, 16, 17],
        f"{layer}v_proj.{kind}": [8, 9, 18, 19],
    }


def test_a_tensor_that_wqkv_shares_goes_to_each_part():
    shared = [("weight_scale", torch.tensor([0.5])), ("g_idx", torch.arange(4))]
    layer = "language_model.model.layers.0.self_attn."
    for kind, tensor in shared:
        parts = dict(split_wqkv([(f"{layer}wqkv.{kind}", tensor)], num_heads=2, num_kv_heads=1))
        assert list(parts) == [f"{layer}{part}_proj.{kind}" for part in "qkv"]
        assert all(torch.equal(part, tensor) for part in parts.values())


def test_a_foreign_name_is_refused():
    with pytest.raises(ValueError, match=r"'transformer\.h\.0'"):
        to_transformers({"transformer.h.0": torch.zeros(1)})


@pytest.mark.parametrize("tied", [False, True])
def test_missing_tensors_are_found_in_either_layout(model: InternVLForConditionalGeneration, tied: bool):
    state = model.state_dict()
    config = InternVLChatConfig.from_dict(config_to_opengvlab(model.config) | {"tie_word_embeddings": tied})
    assert missing_tensors(config, state) == []
    assert missing_tensors(config, to_opengvlab(state)) == []
    assert missing_tensors(config, state.keys() - {"lm_head.weight"}) == ([] if tied else ["lm_head.weight"])
    # It is one of three stacked tensors, so the engine's parameter would look loaded.
    removed = "language_model.model.layers.1.self_attn.k_proj.bias"
    assert missing_tensors(config, to_opengvlab(state).keys() - {removed}) == [removed]
