"""Runs with LoRA adapters: exports of both kinds, a resumed run, and the optimisers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from model.checkpoint.config_file import Layout, described
from tests.checkpoints import build_checkpoint
from tests.ttscaling.train.jobs import figures, job, recipe, weights
from ttscaling.train.checkpoints.load import load_model
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import make_accelerator
from ttscaling.train.settings.kinds import Kind
from ttscaling.train.settings.recipe import Recipe


def run(training_job: Job, *, resume: bool = False) -> Path:
    return run_job(training_job, make_accelerator(training_job.recipe.precision), resume=resume)


def lora_recipe(**changes: object) -> Recipe:
    return replace(recipe(learning_rate=1e-2), lora_rank=4, parts=("language",), **changes)  # type: ignore[arg-type]


def logits(checkpoint: Path, adapter: Path | None = None) -> torch.Tensor:
    model = load_model(checkpoint, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    ids_1T = torch.arange(5, 45)[None]
    with torch.no_grad():
        return model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)).logits


@pytest.mark.parametrize("kind", ["critic", "mpo"])
def test_a_merged_model_answers_as_peft_with_the_adapter(kind: Kind, tmp_path: Path) -> None:
    build_checkpoint(tmp_path / "start", "transformers")
    merged = job(tmp_path, kind, name="merged", recipe=lora_recipe())
    alone = job(tmp_path, kind, name="alone", recipe=lora_recipe(), export="adapter")
    model, adapter = run(merged), run(alone)
    assert figures(merged) == figures(alone)
    assert figures(merged)[-1]["loss"] < 0.95 * figures(merged)[0]["loss"]
    answers = logits(model)
    assert (answers - logits(merged.model)).abs().max() > 1e-2, "the run changed the answers"
    torch.testing.assert_close(answers, logits(merged.model, adapter), rtol=0, atol=1e-3)
    start, trained = weights(merged.model), weights(model)
    changed = {name for name, tensor in start.items() if not torch.equal(trained[name], tensor)}
    assert changed and all("language_model." in name and "_proj.weight" in name for name in changed)


@pytest.mark.parametrize("layout", ["opengvlab", "transformers"])
def test_an_adapter_has_the_names_of_its_checkpoints_layout(layout: Layout, tmp_path: Path) -> None:
    """They are the names with which the server is tested (`ORIGINS` in `tests/model/test_lora.py`)."""
    build_checkpoint(tmp_path / "start", layout)
    adapter = run(job(tmp_path, "critic", recipe=lora_recipe(steps=1), export="adapter"))
    module = {"opengvlab": "language_model.model", "transformers": "model.language_model"}[layout]
    names = load_file(adapter / "adapter_model.safetensors").keys()
    assert f"base_model.model.{module}.layers.0.mlp.up_proj.lora_B.weight" in names
    assert {name.split(".layers.")[0] for name in names} == {f"base_model.model.{module}"}
    assert sorted(path.name for path in adapter.iterdir() if path.suffix != ".md") == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Its last state is removed, so that half of the run is done again."""
    straight = job(tmp_path, "critic", name="straight", recipe=lora_recipe())
    again = job(tmp_path, "critic", name="again", recipe=lora_recipe())
    expected = weights(run(straight))
    trained = run(again)
    for path in (again.output / "checkpoints" / "step-00000006", trained):
        path.rename(tmp_path / f"removed-{path.name}")
    torch.manual_seed(99)
    for name, tensor in weights(run(again, resume=True)).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_critic_with_a_system_message_is_merged(tmp_path: Path) -> None:
    critic = job(tmp_path, "critic", recipe=lora_recipe(steps=1))
    critic = replace(critic, critic=replace(critic.critic, system="Judge."))
    with pytest.raises(ValueError, match="an adapter can't hold the critic's system message"):
        run(replace(critic, export="adapter"))
    assert described(run(critic)).system_message == "Judge."


def test_an_adapter_is_exported_only_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set --lora-rank"):
        run(job(tmp_path, "critic", export="adapter"))


def test_moments_in_8_bits_need_bitsandbytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.optim", None)  # as if it weren't installed
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        run(job(tmp_path, "critic", recipe=recipe(steps=1, optimizer="adamw8bit")))
