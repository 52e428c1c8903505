import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.checkpoint.config_file import write_delta
from model.checkpoint.digest import checkpoint_digest
from server.embedded import embedded_checkpoint


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(embedded_checkpoint("policy"), tmp_path / "copy"))


def test_a_copy_has_the_same_digest_wherever_it_is(copied: Path) -> None:
    digest = checkpoint_digest(Path(embedded_checkpoint("policy")))
    assert checkpoint_digest(copied) == digest and len(digest) == 16
    (copied / "README.md").write_text("a note about the checkpoint")
    assert checkpoint_digest(copied) == digest
    assert checkpoint_digest(Path(embedded_checkpoint("critic"))) != digest


def test_a_training_step_changes_it(copied: Path) -> None:
    """Each weight moves by about the smallest amount that its number format can tell."""
    digest = checkpoint_digest(copied)
    (path,) = copied.glob("*.safetensors")
    weights = {
        name: tensor * (1 + 2 * torch.finfo(tensor.dtype).eps) for name, tensor in load_file(path).items()
    }
    size = path.stat().st_size
    save_file(weights, path, metadata={"format": "pt"})
    assert path.stat().st_size == size, "names and shapes are the same, so the headers can't tell them apart"
    assert checkpoint_digest(copied) != digest


def test_training_one_small_part_changes_it(copied: Path) -> None:
    (path,) = copied.glob("*.safetensors")
    digests = {checkpoint_digest(copied)}
    for part in ("mlp1.0.bias", "mlp1.3.bias"):
        weights = load_file(path)
        weights[part] = weights[part] + 1
        save_file(weights, path, metadata={"format": "pt"})
        digests.add(checkpoint_digest(copied))
    assert len(digests) == 3


def test_settings_change_it(copied: Path) -> None:
    digests = {checkpoint_digest(copied)}
    write_delta(copied, 0.25)
    digests.add(checkpoint_digest(copied))
    (copied / "chat_template.jinja").write_text("{{ messages }}")
    digests.add(checkpoint_digest(copied))
    generation = json.loads((copied / "generation_config.json").read_text())
    (copied / "generation_config.json").write_text(json.dumps({**generation, "temperature": 0.5}))
    digests.add(checkpoint_digest(copied))
    assert len(digests) == 4
