"""The sizes of a checkpoint's parts: as published, as its files hold them, and as its config says."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint.config import InternVLChatConfig, InternVLConfig
from model.checkpoint.parameters import parameter_counts, weight_bytes
from tests.checkpoints import Layout, build_checkpoint, save_weights, write_json
from tests.model.size_tensors import tensors
from tests.model.sizes import SIZES, UNPUBLISHED, Size, config_json

PUBLISHED = Path(__file__).parents[4] / "shared" / "published"
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True}
GPTQ = {"quant_method": "gptq", "bits": 8, "group_size": -1, "desc_act": False}
COMPRESSED = {
    "quant_method": "compressed-tensors",
    "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32, "type": "int"}}},
    "ignore": ["re:.*vision.*"],
}


def config_of(size: Size, description: dict | None = None, *, everywhere: bool = False) -> InternVLChatConfig:
    content = config_json(size, "opengvlab")
    if description is not None:
        (content if everywhere else content["llm_config"])["quantization_config"] = description
    return InternVLChatConfig.from_dict(content)


@pytest.mark.parametrize("size", (*SIZES, *UNPUBLISHED), ids=lambda size: size.name)
def test_the_parameters_are_those_of_the_checkpoint(size: Size):
    """The independent list of all tensors in size_tensors.py gives the same sums, part by part."""
    of_part = dict.fromkeys(("vision_model", "mlp1", "language_model"), 0)
    for name, shape in tensors(size, "opengvlab").items():
        tied_head = size.tied and name.endswith(("lm_head.weight", "output.weight"))
        of_part[name.partition(".")[0]] += 0 if tied_head else torch.Size(shape).numel()
    for config in (config_of(size), InternVLConfig.from_dict(config_json(size, "transformers"))):
        counts = parameter_counts(config)
        assert counts.vision == of_part["vision_model"]
        assert counts.projector == of_part["mlp1"]
        assert counts.layers + counts.embeddings + counts.head == of_part["language_model"]
        assert counts.head == (0 if size.tied else size.vocab * size.hidden)
        assert counts.embeddings == size.vocab * size.hidden


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published files are not on this machine")
def test_the_bytes_are_those_of_the_published_index():
    folder = PUBLISHED / "InternVL3-8B"
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    config = InternVLChatConfig.from_pretrained(folder)
    assert weight_bytes(config, width=2).total == index["metadata"]["total_size"] == 15_888_747_520


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the published files are not on this machine")
def test_a_head_counts_where_the_config_does_not_say_whether_it_is_tied():
    """transformers then says "tied", but the 8,528,318,464 parameters include a head."""
    config = InternVLConfig.from_pretrained(PUBLISHED / "InternVL3_5-8B-HF")
    assert config.tie_word_embeddings
    assert weight_bytes(config, width=2).total == 17_056_636_928


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_counts_as_its_files_say(layout: Layout, tied: bool, tmp_path: Path):
    """The config calls every head tied, and half of the vision layers never run."""
    build_checkpoint(tmp_path, layout, tied=tied)
    content = json.loads((tmp_path / "config.json").read_text()) | {"tie_word_embeddings": True}
    content["select_layer" if layout == "opengvlab" else "vision_feature_layer"] = 1
    write_json(tmp_path / "config.json", content)
    config = (InternVLChatConfig if layout == "opengvlab" else InternVLConfig).from_pretrained(tmp_path)
    sizes = weight_bytes(config, width=2, folder=tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    heads = [tensor for name, tensor in weights.items() if "lm_head" in name]
    assert len(heads) == (0 if tied else 1) and sizes.head == sum(2 * head.numel() for head in heads)
    computed = weight_bytes(config, width=2)
    assert sizes.vision == computed.vision < 2 * parameter_counts(config).vision
    assert sizes.layers == computed.layers and sizes.embeddings == computed.head


def test_unquantised_weights_have_the_width_in_which_they_are_served():
    config = config_of(SIZES[0])
    assert weight_bytes(config, width=4).total == 2 * weight_bytes(config, width=2).total


@pytest.mark.parametrize(
    ("description", "bits"),
    [(AWQ, 4 + 20 / 128), (GPTQ, 8), (COMPRESSED, 4 + 20 / 32), ({"quant_method": "fp8"}, 8)],
    ids=["awq", "gptq", "compressed-tensors", "fp8"],
)
def test_quantised_layers_take_as_many_bits_as_the_config_says(description, bits):
    """The language model's layers are quantised; the vision tower, embeddings and head are not."""
    plain, small = (weight_bytes(config_of(SIZES[2], form), width=2) for form in (None, description))
    assert small.layers == pytest.approx(plain.layers * bits / 16)
    assert (small.vision, small.projector) == (plain.vision, plain.projector)
    assert (small.embeddings, small.head) == (plain.embeddings, plain.head)


def test_a_quantised_vision_tower_is_smaller_too():
    fp8 = {"quant_method": "fp8"}
    plain = weight_bytes(config_of(SIZES[2]), width=2)
    assert weight_bytes(config_of(SIZES[2], fp8, everywhere=True), width=2).vision == plain.vision / 2
    listed = {**fp8, "ignored_layers": ["vision_model"]}
    assert weight_bytes(config_of(SIZES[2], listed, everywhere=True), width=2).vision == plain.vision


def test_a_quantised_folder_is_as_large_as_its_files(opengvlab_checkpoint, tmp_path):
    """Part by part, whatever the description says, and in the layout of the files."""
    weights = load_file(opengvlab_checkpoint / "model.safetensors")
    content = json.loads((opengvlab_checkpoint / "config.json").read_text())
    content["llm_config"]["quantization_config"] = AWQ
    write_json(tmp_path / "config.json", content)
    save_weights(tmp_path, weights)
    sizes = weight_bytes(InternVLChatConfig.from_pretrained(tmp_path), width=2, folder=tmp_path)
    assert sizes.total == sum(tensor.nbytes for tensor in weights.values())
    head = weights["language_model.lm_head.weight"].nbytes
    assert sizes.head == head and sizes.embeddings == head
    assert sizes.vision == sum(t.nbytes for name, t in weights.items() if name.startswith("vision_model."))
    assert sizes.projector == sum(t.nbytes for name, t in weights.items() if name.startswith("mlp1."))
