"""A running engine takes new weights in buckets, and a part that isn't built needs no weights."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.checkpoints import (
    MAX_TILES,
    TILE,
    build_checkpoint,
    byte_tokenizer,
    random_model,
    save_weights,
    write_json,
)
from tests.model.engine_series import engine, question, questions, run_series, tokens
from tests.model.reference import Reference

pytestmark = pytest.mark.engine


def shard_by_part(checkpoint: Path) -> Path:
    """Give the language model a file of its own, which vLLM doesn't read with `--mm-encoder-only`."""
    single_file = checkpoint / "model.safetensors"
    state = load_file(single_file)
    single_file.unlink()
    file_of_tensor = {name: f"{name.startswith('language_model.')}.safetensors" for name in state}
    for file in set(file_of_tensor.values()):
        part = {name: tensor for name, tensor in state.items() if file_of_tensor[name] == file}
        save_file(part, checkpoint / file, metadata={"format": "pt"})
    write_json(checkpoint / "model.safetensors.index.json", {"metadata": {}, "weight_map": file_of_tensor})
    return checkpoint


def remove(checkpoint: Path, prefix: str) -> None:
    """Take the tensors out whose names begin with `prefix`."""
    state = load_file(checkpoint / "model.safetensors")
    save_weights(checkpoint, {name: tensor for name, tensor in state.items() if not name.startswith(prefix)})


def select_layer(checkpoint: Path, selected: int) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    write_json(checkpoint / "config.json", config | {"select_layer": selected})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, engine_env: dict[str, str]) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("partial")
    tied = [build_checkpoint(folder / f"tied{seed}", "transformers", tied=True, seed=seed) for seed in (0, 1)]
    untied = build_checkpoint(folder / "untied", "opengvlab", seed=1)
    sharded = shard_by_part(build_checkpoint(folder / "sharded", "opengvlab", seed=1))
    asked = questions(folder)
    asked_hf = [one | {"prompt": one["prompt"].replace("<image>", "<IMG_CONTEXT>")} for one in asked]
    text = [question(folder)]
    broken = build_checkpoint(folder / "broken", "opengvlab")
    remove(broken, "mlp1.3.bias")
    selected = build_checkpoint(folder / "selected", "opengvlab", seed=1)
    select_layer(selected, -2)
    shorter = build_checkpoint(folder / "shorter", "opengvlab", seed=1)
    select_layer(shorter, 1)
    remove(shorter, "vision_model.encoder.layers.1.")
    engines = [
        engine("old", tied[0], asked_hf),
        engine("new", tied[1], asked_hf),
        engine("synchronised", tied[0], asked_hf, buckets_of=tied[1]),
        engine("from nothing", tied[0], asked_hf, buckets_of=tied[1], load_format="dummy"),
        engine("untied", untied, asked),
        engine("untied from nothing", untied, asked, buckets_of=untied, load_format="dummy"),
        engine("selected", selected, asked),
        engine("shorter", shorter, asked),
        engine("text", sharded, text, limit_mm_per_prompt={"image": 0, "video": 0}),
        engine("encoder", sharded, [], mm_encoder_only=True),
        engine("broken encoder", broken, [], mm_encoder_only=True),
    ]
    return run_series(engines, folder, engine_env)[0]


def answers(results: dict[str, Any], name: str) -> list[list[int]]:
    assert not isinstance(results[name], str), results[name]
    return tokens(results[name]["answers"])


@pytest.mark.parametrize("start", ["synchronised", "from nothing"])
def test_new_weights_come_in_buckets(results: dict[str, Any], start: str):
    """The tied head follows the embeddings, whether the engine started with weights or with none."""
    assert answers(results, start) == answers(results, "new") != answers(results, "old")


def test_a_head_of_its_own_comes_in_a_bucket(results: dict[str, Any]):
    assert answers(results, "untied from nothing") == answers(results, "untied")


def test_a_part_that_is_not_built_needs_no_tensors(results: dict[str, Any]):
    assert answers(results, "encoder") == []
    assert len(answers(results, "text")[0]) == 12


def test_a_part_that_is_built_needs_all_of_them(results: dict[str, Any]):
    assert results["broken encoder"] == "the checkpoint lacks mlp1.3.bias"


def test_layers_that_never_run_are_left_out(results: dict[str, Any], tmp_path: Path):
    """The features are those of transformers' model, whether the checkpoint holds the other layer or not."""
    tokenizer = byte_tokenizer()
    model = random_model(len(tokenizer), tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"), tied=False, seed=1)
    model.config.vision_feature_layer = 1
    one = question(tmp_path, 1)
    tokenizer.save_pretrained(tmp_path)
    reference = Reference(model, tmp_path, TILE, MAX_TILES)
    expected = reference.generate(one["prompt"], [Image.open(one["images"][0])], 1.0, 12)
    assert answers(results, "selected")[2] == [step.token for step in expected]
    assert answers(results, "shorter") == answers(results, "selected") != answers(results, "untied")
