"""An incomplete checkpoint is refused with one line, before any engine starts."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from model.checkpoint.missing import require_tensors
from tests.checkpoints import Layout, build_checkpoint, save_weights


def without(directory: Path, *names: str) -> None:
    state = load_file(directory / "model.safetensors")
    for name in names:
        del state[name]
    save_weights(directory, state)


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_complete_checkpoint_passes(layout: Layout, tied: bool, tmp_path: Path):
    require_tensors(build_checkpoint(tmp_path, layout, tied=tied))


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("opengvlab", "vision_model.encoder.layers.0.attn.qkv.bias"),
        ("opengvlab", "language_model.lm_head.weight"),
        ("opengvlab", "language_model.model.layers.1.mlp.up_proj.weight"),
        ("transformers", "multi_modal_projector.linear_1.bias"),
        ("transformers", "language_model.lm_head.weight"),
    ],
)
def test_a_missing_tensor_is_named_on_one_line(layout: Layout, name: str, tmp_path: Path):
    build_checkpoint(tmp_path, layout)
    without(tmp_path, name)
    with pytest.raises(ValueError) as refusal:
        require_tensors(tmp_path)
    message = str(refusal.value)
    assert message.startswith(f"the checkpoint in {tmp_path} lacks ")
    saved_name = name.removeprefix("language_model.") if layout == "transformers" else name
    assert message.endswith(f"{saved_name}: copy or download its files again")
    assert "\n" not in message


def test_many_missing_tensors_are_counted(tmp_path: Path):
    build_checkpoint(tmp_path, "opengvlab")
    state = load_file(tmp_path / "model.safetensors")
    without(tmp_path, *[name for name in state if name.startswith("language_model.model.layers.0.")])
    with pytest.raises(ValueError, match=r"and 4 more: copy"):
        require_tensors(tmp_path)


def test_shards_count_together(tmp_path: Path):
    build_checkpoint(tmp_path, "opengvlab")
    single_file = tmp_path / "model.safetensors"
    state = load_file(single_file)
    names = sorted(state)
    for shard, part in enumerate((names[::2], names[1::2])):
        save_weights(tmp_path, {name: state[name] for name in part})
        single_file.rename(tmp_path / f"model-{shard}.safetensors")
    require_tensors(tmp_path)


@pytest.mark.parametrize("selected", [-2, 1])
def test_layers_of_the_vision_tower_that_never_run_may_be_missing(selected: int, tmp_path: Path):
    build_checkpoint(tmp_path, "opengvlab")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"select_layer": selected}))
    require_tensors(tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    without(tmp_path, *[name for name in names if name.startswith("vision_model.encoder.layers.1.")])
    require_tensors(tmp_path)
    without(tmp_path, "vision_model.encoder.layers.0.ls1")
    with pytest.raises(ValueError, match=r"lacks vision_model.encoder.layers.0.ls1: copy"):
        require_tensors(tmp_path)


@pytest.mark.parametrize("removed", ["qweight", "scales"])
def test_a_quantised_checkpoint_may_hold_its_weights_in_other_forms(removed: str, tmp_path: Path):
    build_checkpoint(tmp_path, "opengvlab")
    state = load_file(tmp_path / "model.safetensors")
    module = "language_model.model.layers.0.mlp.up_proj"
    weight = state.pop(f"{module}.weight")
    state |= {f"{module}.qweight": weight, f"{module}.scales": weight.clone()}
    config = json.loads((tmp_path / "config.json").read_text())
    config["llm_config"]["quantization_config"] = {"quant_method": "awq"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_weights(tmp_path, state)
    require_tensors(tmp_path)
    del state[f"{module}.{removed}"]
    save_weights(tmp_path, state)
    with pytest.raises(ValueError, match=f"lacks {module}.{'weight' if removed == 'qweight' else 'scales'}:"):
        require_tensors(tmp_path)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        require_tensors(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("content", ["half", "version https://git-lfs.github.com/spec/v1\nsize 5\n", ""])
def test_a_damaged_file_is_named(name: str, content: str, tmp_path: Path):
    file = build_checkpoint(tmp_path, "opengvlab") / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content == "half" else content.encode())
    with pytest.raises(ValueError, match=rf"{name} is damaged \(.+\): copy or download it again") as caught:
        require_tensors(tmp_path)
    assert "\n" not in str(caught.value)
