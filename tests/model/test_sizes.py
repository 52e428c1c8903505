"""The config of every published size is read, and its tensors are those of transformers' class."""

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from transformers import InternVLForConditionalGeneration

from model.checkpoint.config import InternVLChatConfig, InternVLConfig
from model.checkpoint.description import read_checkpoint
from model.checkpoint.missing import missing_tensors
from model.checkpoint.tensors import stream_to_opengvlab
from tests.model.size_tensors import Shape, tensors
from tests.model.sizes import SIZES, UNPUBLISHED, Layout, Size, config_json

EVERY = [
    pytest.param(size, layout, id=f"{size.name}-{layout}")
    for size in (*SIZES, *UNPUBLISHED)
    for layout in ("opengvlab", "transformers")
]


def read(size: Size, layout: Layout) -> InternVLConfig:
    kind = InternVLChatConfig if layout == "opengvlab" else InternVLConfig
    return kind.from_dict(config_json(size, layout))


def saved_name(name: str) -> str:
    """Return the name that transformers' `save_pretrained` writes for a name in memory."""
    if name.startswith("lm_head."):
        return f"language_model.{name}"
    name = name.removeprefix("model.")
    return name.replace("language_model.", "language_model.model.", 1)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_the_table_has_as_many_parameters_as_published(size: Size):
    counts = {
        layout: sum(map(numel, tensors(size, layout).values())) for layout in ("opengvlab", "transformers")
    }
    assert counts["opengvlab"] == counts["transformers"]
    assert counts["opengvlab"] / 1e9 == pytest.approx(size.billions, rel=0.1)


def numel(shape: Shape) -> int:
    return torch.Size(shape).numel()


@pytest.mark.parametrize(("size", "layout"), EVERY)
def test_a_config_agrees_with_the_table(size: Size, layout: Layout):
    config = read(size, layout)
    text = config.text_config
    assert (text.hidden_size, text.intermediate_size, text.num_hidden_layers) == (
        size.hidden,
        size.ffn,
        size.layers,
    )
    assert (text.num_attention_heads, text.num_key_value_heads) == (size.heads, size.kv_heads)
    assert text.rope_parameters == {"rope_type": "default", "rope_theta": size.theta}
    assert len(config.mrope_section) == 3
    assert config.mrope_section[0] == size.head_dim // 2
    checkpoint = read_checkpoint(config, {})
    assert checkpoint.tokens_per_tile == 256
    assert checkpoint.window == size.window
    assert checkpoint.layout == layout
    assert checkpoint.vision.norm_type == size.vision.norm
    assert checkpoint.vision.qk_normalization is size.vision.qk_norm
    again = type(config).from_dict(json.loads(config.to_json_string()))
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize(("size", "layout"), EVERY)
def test_missing_tensors_are_named(size: Size, layout: Layout):
    """A checkpoint with one tensor lacks all others, except a tied output head."""
    config, names = read(size, layout), set(tensors(size, layout))
    assert missing_tensors(config, names) == []
    only = "language_model.model.tok_embeddings.weight"
    only = only if only in names else "language_model.model.embed_tokens.weight"
    present = {only} if layout == "transformers" else {only, "mlp1.0.bias"}
    missing = {
        saved_name(name) if layout == "transformers" else name for name in missing_tensors(config, present)
    }
    assert missing == names - present


@pytest.mark.parametrize("size", [*SIZES, *UNPUBLISHED], ids=lambda size: size.name)
def test_both_layouts_give_the_same_tensors_in_the_engine(size: Size):
    """transformers' class has the tensors of its layout, with the same shapes."""
    config = read(size, "transformers")
    with torch.device("meta"):
        state = InternVLForConditionalGeneration(config).state_dict()
        streams = {
            layout: dict(
                stream_to_opengvlab(
                    ((name, torch.empty(shape)) for name, shape in tensors(size, layout).items()),
                    read(size, layout).text_config,
                )
            )
            for layout in ("opengvlab", "transformers")
        }
    saved_shapes = {saved_name(name): tuple(tensor.shape) for name, tensor in state.items()}
    if size.tied:
        del saved_shapes["language_model.lm_head.weight"]
    assert saved_shapes == tensors(size, "transformers")
    shapes = {
        layout: {name: tuple(tensor.shape) for name, tensor in stream.items()}
        for layout, stream in streams.items()
    }
    assert shapes["opengvlab"] == shapes["transformers"]


@pytest.fixture(scope="module")
def engine_models(tmp_path_factory: pytest.TempPathFactory, engine_env: dict[str, str]) -> dict[str, Any]:
    """Return the result of `size_driver`: the engine's model of every size."""
    folder = tmp_path_factory.mktemp("sizes")
    result = folder / "result.json"
    command = [sys.executable, "-m", "tests.model.size_driver", str(folder), str(result)]
    subprocess.run(command, env=engine_env, check=True, timeout=600, capture_output=True, text=True)
    models: dict[str, Any] = json.loads(result.read_text())
    return models


@pytest.mark.engine
@pytest.mark.parametrize(("size", "layout"), EVERY)
def test_every_parameter_of_the_engine_is_loaded(size: Size, layout: Layout, engine_models: dict[str, Any]):
    model = engine_models[f"{size.name}-{layout}"]
    tied = {"language_model.lm_head.weight"} if size.tied else set()
    assert set(model["loaded"]) == set(model["parameters"]) | tied
