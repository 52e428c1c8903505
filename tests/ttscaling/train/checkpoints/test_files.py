"""A checkpoint whose files aren't all there is refused with one line, before anything is trained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.checkpoints import build_checkpoint
from tests.ttscaling.train.commands.test_training import run_command
from tests.ttscaling.train.jobs import command_line, job
from ttscaling.train.checkpoints.files import require_files

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234567\n"


def damage(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda checkpoint: (checkpoint / name).write_bytes(content)


def cut(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def name_a_shard(checkpoint: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))


def rename_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (damage("model.safetensors", POINTER.encode()), "run `git lfs pull` in its folder"),
    "tokenizer": (damage("tokenizer.json", POINTER.encode()), "run `git lfs pull` in its folder"),
    "cut off": (cut, "download it again"),
    "no safetensors": (rename_weights, "no weights in safetensors files"),
    "a shard": (name_a_shard, "lacks model-00002-of-00002.safetensors"),
}


def test_a_complete_checkpoint_is_accepted(tmp_path: Path) -> None:
    require_files(build_checkpoint(tmp_path, "opengvlab"))


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    training_job = job(tmp_path)
    damage_it, message = DAMAGES[name]
    damage_it(training_job.model)
    status, output = run_command(*command_line(training_job))
    assert status == 1
    assert message in output and "Traceback" not in output
    assert len(output.strip().splitlines()) == 1
    assert not training_job.output.exists()


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    """It has more tokens than the model has embeddings, so a step would read beyond the end of them."""
    training_job = job(tmp_path)
    path = training_job.model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    last = max(token["id"] for token in tokenizer["added_tokens"])
    extra = [tokenizer["added_tokens"][-1] | {"id": last + n, "content": f"<more-{n}>"} for n in (1, 2)]
    tokenizer["added_tokens"] += extra
    path.write_text(json.dumps(tokenizer))
    status, output = run_command(*command_line(training_job))
    assert status == 1
    assert "use the tokenizer files that belong to the checkpoint" in output
    assert not training_job.output.exists()
