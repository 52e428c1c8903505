"""The table of published sizes has the values of the published files, and says of each where it was read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model.checkpoint.config import InternVLChatConfig, InternVLConfig
from model.checkpoint.description import read_checkpoint
from tests.model.size_sources import LANGUAGE, SOURCES
from tests.model.size_tensors import tensors
from tests.model.sizes import SIZES, VISION, Layout, Size, config_json
from tests.published import published

BY_NAME = {size.name: size for size in SIZES}
# The folders of the published files, with the size of the table that each belongs to.
FOLDERS = {name: name for name, source in SOURCES.items() if source.fields}
FOLDERS |= {f"InternVL3-{billions}B-hf": f"InternVL3-{billions}B" for billions in (1, 2, 8)}
FOLDERS |= {"InternVL3_5-8B-HF": "InternVL3_5-8B"}
# `llm_config` or `text_config` has these keys for the fields of a size.
KEYS = {
    "hidden": "hidden_size",
    "ffn": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "theta": "rope_theta",
    "eps": "rms_norm_eps",
    "window": "max_position_embeddings",
    "vocab": "vocab_size",
    "head_dim": "head_dim",
}
# InternVL3-78B's was read in another project, which writes its own value for the start of a training.
FOREIGN = {("InternVL3-78B", "vision_config.initializer_factor")}


def config_of(folder: str) -> dict[str, Any]:
    path = published(folder)
    (file,) = [name for name in ("config.json", "config.partial.json") if (path / name).exists()]
    content: dict[str, Any] = json.loads((path / file).read_text())
    return content


def read_fields(config: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a size that a published config states."""
    text = config.get("llm_config") or config["text_config"]
    fields = {field: text[key] for field, key in KEYS.items() if key in text}
    if "rope_scaling" in text:
        fields["dynamic"] = text["rope_scaling"] and text["rope_scaling"]["factor"]
    if "vision_config" in config:
        (fields["vision"],) = (
            tower for tower in VISION.values() if tower.hidden == config["vision_config"]["hidden_size"]
        )
    return fields


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Return the keys that both have with different values, each with its path."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        shared = [key for key in ours if key in theirs]
        return [found for key in shared for found in differences(ours[key], theirs[key], f"{path}.{key}")]
    return [] if ours == theirs else [f"{path[1:]}: {ours!r} here, {theirs!r} in the file"]


def test_every_size_has_a_source():
    assert list(SOURCES) == [size.name for size in SIZES]
    for source in SOURCES.values():
        assert set(LANGUAGE) <= set(source.fields) or not source.fields


@pytest.mark.parametrize("folder", FOLDERS)
def test_exactly_the_fields_that_were_read_are_marked(folder: str):
    size, fields = BY_NAME[FOLDERS[folder]], read_fields(config_of(folder))
    assert set(fields) == set(SOURCES[size.name].fields)
    assert {field: getattr(size, field) for field in fields} == fields


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_value_is_that_of_the_published_config(folder: str):
    size, theirs = BY_NAME[FOLDERS[folder]], config_of(folder)
    ours = config_json(size, "opengvlab" if "llm_config" in theirs else "transformers")
    found = [line for line in differences(ours, theirs) if (folder, line.split(":")[0]) not in FOREIGN]
    assert found == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_our_classes_read_the_published_config_as_the_table(folder: str):
    size, content = BY_NAME[FOLDERS[folder]], config_of(folder)
    layout: Layout = "opengvlab" if "llm_config" in content else "transformers"
    kind = InternVLChatConfig if layout == "opengvlab" else InternVLConfig
    ours = kind.from_dict(config_json(size, layout))
    theirs = kind.from_dict(with_the_rest(content, config_json(size, layout)))
    assert read_checkpoint(theirs, processor_of(folder)) == read_checkpoint(ours, {})
    for key in ("hidden_size", "num_hidden_layers", "vocab_size", "rms_norm_eps", "rope_parameters"):
        assert getattr(theirs.text_config, key) == getattr(ours.text_config, key)
    assert theirs.mrope_section == ours.mrope_section
    assert theirs.text_config.tie_word_embeddings is theirs.tie_word_embeddings is False


def with_the_rest(content: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return a published config; a partial one gets the keys that it lacks from the table."""
    merged = dict(content)
    for key, value in ours.items():
        if isinstance(value, dict):
            merged[key] = value | content.get(key, {})
        else:
            merged.setdefault(key, value)
    return merged


def processor_of(folder: str) -> dict[str, Any]:
    path = published(folder) / "preprocessor_config.json"
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.index])
def test_the_tensors_are_those_of_the_published_index(name: str):
    index = json.loads((published(name) / "model.safetensors.index.json").read_text())
    ours = tensors(BY_NAME[name], "opengvlab")
    assert set(ours) == set(index["weight_map"])
    assert 2 * sum(torch.Size(shape).numel() for shape in ours.values()) == index["metadata"]["total_size"]


def table_row(size: Size) -> str:
    source = SOURCES[size.name]
    names = "; the names of all tensors and their size agree with the index" if source.index else ""
    return f"| {size.name} | {source.read_in}{names} | {source.inferred} |"


def test_the_page_shows_the_table():
    page = (Path(__file__).parents[2] / "docs/checkpoints.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith(("| InternVL3", "| InternVL2_5"))]
    assert rows == [table_row(size) for size in SIZES]
