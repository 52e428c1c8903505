"""An exported checkpoint has the names, the config and the other files that servers load."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, InternVLForConditionalGeneration

from model.checkpoint.config_file import described
from model.checkpoint.missing import require_tensors
from tests.checkpoints import Language, Layout, build_checkpoint
from ttscaling.train.checkpoints.export import export
from ttscaling.train.checkpoints.load import load_model, weights_dtype
from ttscaling.train.network.internvl import V2PEInternVL


def exported(
    folder: Path, source: Layout, target: Layout, *, tied: bool = False, language: Language = "qwen2"
) -> tuple[V2PEInternVL, Path]:
    """Return a model from a checkpoint of one layout, and the folder where it is exported in another."""
    start = build_checkpoint(folder / "start", source, tied=tied, language=language)
    model = load_model(start, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.25
    export(model.state_dict(), model.config, start, folder / "out", layout=target, dtype=torch.float32)
    return model, folder / "out"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("source", ["opengvlab", "transformers"])
@pytest.mark.parametrize("target", ["opengvlab", "transformers"])
def test_every_way_between_the_layouts(source: Layout, target: Layout, tied: bool, tmp_path: Path) -> None:
    model, out = exported(tmp_path, source, target, tied=tied)
    require_tensors(out)
    again = load_model(out, dtype=torch.float32).state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again[name], tensor), name
    before, after = described(tmp_path / "start"), described(out)
    assert after.layout == target
    assert (after.tiling, after.tokens_per_tile, after.window) == (
        before.tiling,
        before.tokens_per_tile,
        before.window,
    )
    tokens = [
        AutoTokenizer.from_pretrained(folder)("<img> a")["input_ids"] for folder in (tmp_path / "start", out)
    ]
    assert tokens[0] == tokens[1]
    generation = [
        json.loads((folder / "generation_config.json").read_text()) for folder in (tmp_path / "start", out)
    ]
    assert generation[0]["eos_token_id"] == generation[1]["eos_token_id"]


def test_what_was_trained_without_a_system_message_is_served_without(tmp_path: Path) -> None:
    _, out = exported(tmp_path, "transformers", "opengvlab")
    assert described(out).system_message == ""


def test_the_system_message_stays(tmp_path: Path) -> None:
    _, out = exported(tmp_path, "opengvlab", "opengvlab")
    assert described(out).system_message == described(tmp_path / "start").system_message != ""


@pytest.mark.parametrize("target", ["opengvlab", "transformers"])
@pytest.mark.parametrize("system", ["Judge each step.", ""])
def test_a_system_message_of_training_is_read_by_the_server(
    system: str, target: Layout, tmp_path: Path
) -> None:
    start = build_checkpoint(tmp_path / "start", "opengvlab")
    model = load_model(start, dtype=torch.float32)
    out = tmp_path / "out"
    export(model.state_dict(), model.config, start, out, layout=target, dtype=torch.float32, system=system)
    assert described(out).system_message == system
    assert torch.equal(load_model(out, dtype=torch.float32).lm_head.weight, model.lm_head.weight)


@torch.no_grad()
def test_transformers_own_class_loads_its_layout(tmp_path: Path) -> None:
    model, out = exported(tmp_path, "opengvlab", "transformers")
    theirs, report = InternVLForConditionalGeneration.from_pretrained(out, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids_1T = torch.arange(5, 25)[None]
    mask_1T = torch.ones_like(ids_1T)
    torch.testing.assert_close(
        theirs(input_ids=ids_1T, attention_mask=mask_1T).logits,
        model(input_ids=ids_1T, attention_mask=mask_1T).logits,
    )


@pytest.mark.parametrize("language", ["internlm2", "internlm3", "qwen3"])
def test_other_language_models(language: Language, tmp_path: Path) -> None:
    model, out = exported(tmp_path, "opengvlab", "opengvlab", language=language)
    require_tensors(out)
    again = load_model(out, dtype=torch.float32).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


def test_the_type_of_the_weights(tmp_path: Path) -> None:
    start = build_checkpoint(tmp_path / "start", "opengvlab")
    model = load_model(start, dtype=torch.float32)
    assert weights_dtype(start) == torch.float32
    export(
        model.state_dict(), model.config, start, tmp_path / "out", layout="opengvlab", dtype=torch.bfloat16
    )
    assert weights_dtype(tmp_path / "out") == torch.bfloat16
    with safe_open(tmp_path / "out" / "model.safetensors", framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_code_beside_the_weights_stays_where_it_is(tmp_path: Path) -> None:
    start = build_checkpoint(tmp_path / "start", "opengvlab")
    (start / "modeling_internvl_chat.py").write_text("raise SystemExit")
    (start / "LICENSE").write_text("ours")
    model = load_model(start, dtype=torch.float32)
    out = tmp_path / "out"
    export(model.state_dict(), model.config, start, out, layout="opengvlab", dtype=torch.float32)
    assert not list(out.glob("*.py"))
    assert (out / "LICENSE").read_text() == "ours"
    assert "auto_map" not in json.loads((out / "config.json").read_text())


def test_a_checkpoint_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no weights in safetensors"):
        weights_dtype(tmp_path)
