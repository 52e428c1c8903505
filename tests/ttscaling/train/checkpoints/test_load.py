"""The training model loads exactly the tensors of a checkpoint, in each layout."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints import TILE, Layout, build_checkpoint, byte_tokenizer, random_model
from ttscaling.train.checkpoints.load import empty_model, load_model, weights_dtype


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_both_layouts_hold_the_same_model(layout: Layout, tied: bool, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    context = tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    saved = random_model(len(tokenizer), context, tied=tied, seed=4)
    model = load_model(build_checkpoint(tmp_path, layout, tied=tied, seed=4), dtype=torch.float32)
    assert model.config.image_token_id == context and not model.training
    weights = model.state_dict()
    for name, tensor in saved.state_dict().items():
        assert torch.equal(weights.pop(name), tensor), name
    assert not weights
    assert (model.lm_head.weight is model.model.language_model.embed_tokens.weight) == tied


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_the_tokenizer_says_which_token_stands_for_pixels(layout: Layout, tmp_path: Path) -> None:
    """transformers' converter writes InternLM2's id into the config of every Llama, also of InternVL3-9B."""
    path = build_checkpoint(tmp_path, layout) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_token_id": 92546}))
    context = byte_tokenizer().convert_tokens_to_ids("<IMG_CONTEXT>")
    assert load_model(tmp_path, dtype=torch.float32).config.image_token_id == context
    assert empty_model(tmp_path).config.image_token_id == context


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_shards_are_put_together_and_cast(layout: Layout, tmp_path: Path) -> None:
    unsharded = load_model(build_checkpoint(tmp_path, layout), dtype=torch.bfloat16)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    for shard in range(3):
        names = sorted(tensors)[shard::3]
        save_file({name: tensors[name] for name in names}, tmp_path / f"model-{shard + 1}-of-3.safetensors")
    again = load_model(tmp_path, dtype=torch.bfloat16)
    for (name, tensor), other in zip(
        unsharded.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert tensor.dtype == torch.bfloat16 and torch.equal(tensor, other), name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "git-lfs pointer .*git lfs pull",
        ),
        (b"\x10\0\0\0\0\0\0\0half a header", "can't be read .* download it again"),
    ],
)
def test_weights_that_are_no_weights_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (build_checkpoint(tmp_path, "opengvlab") / "model.safetensors").write_bytes(content)
    for read in (weights_dtype, lambda folder: load_model(folder, dtype=torch.float32)):
        with pytest.raises(ValueError, match=f"model.safetensors .*{message}"):
            read(tmp_path)


def test_a_head_that_the_checkpoint_holds_is_used_even_where_the_config_calls_it_tied(tmp_path: Path) -> None:
    build_checkpoint(tmp_path, "opengvlab")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text()) | {"tie_word_embeddings": True}
    path.write_text(json.dumps(config))
    model = load_model(tmp_path, dtype=torch.float32)
    head = load_file(tmp_path / "model.safetensors")["language_model.lm_head.weight"]
    assert torch.equal(model.lm_head.weight, head)
    assert not torch.equal(model.model.language_model.embed_tokens.weight, head)


@pytest.mark.parametrize("version", ["v1", None])
def test_a_checkpoint_whose_tiles_are_transposed_is_refused(version: str | None, tmp_path: Path) -> None:
    """The published code takes v1 where the key is absent."""
    build_checkpoint(tmp_path, "opengvlab")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["ps_version"]
    path.write_text(json.dumps(config if version is None else config | {"ps_version": version}))
    with pytest.raises(ValueError, match="training supports v2 alone"):
        load_model(tmp_path, dtype=torch.float32)


@pytest.mark.parametrize("selected", [-2, 0, 1])
def test_the_features_come_from_the_selected_hidden_state(selected: int, tmp_path: Path) -> None:
    """Index 0 is the embeddings, as in OpenGVLab's code; the other hidden states follow layer by layer."""
    build_checkpoint(tmp_path, "opengvlab")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"select_layer": selected}))
    model = load_model(tmp_path, dtype=torch.float32).model
    tower = model.vision_tower
    pixels = torch.randn(1, 3, TILE, TILE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = [tower.embeddings(pixels)]
        for layer in tower.encoder.layer:
            states.append(layer(states[-1]))
        grid = states[selected][:, 1:].reshape(1, TILE // 14, TILE // 14, -1)
        expected = model.multi_modal_projector(model.pixel_shuffle(grid, scale_factor=0.5).flatten(1, 2))
        got = model.get_image_features(pixels).pooler_output
    torch.testing.assert_close(got, expected)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    build_checkpoint(tmp_path, "opengvlab")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["mlp1.1.bias"]
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"multi_modal_projector\.linear_1\.bias"):
        load_model(tmp_path, dtype=torch.float32)
