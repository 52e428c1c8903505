"""Sharding with FSDP2 as recipes/fsdp2.yaml configures it, compared with an ordinary run."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.utils import DistributedType
from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy

from bench.gpu.sharding import CONFIG, launcher_environment
from tests.checkpoints import Language, Vision, build_checkpoint
from tests.ttscaling.train.jobs import figures, job, recipe, weights
from tests.ttscaling.train.sharded import run_sharded
from ttscaling.train.checkpoints.load import empty_model, load_model
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import ShardedRoot, make_accelerator


def test_accelerate_reads_the_config() -> None:
    config = load_config_from_file(str(CONFIG))
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type == DistributedType.FSDP
    assert config.fsdp_config["fsdp_version"] == 2


@pytest.mark.parametrize("vision", ["300m", "6b"])
@pytest.mark.parametrize("language", ["qwen2", "qwen3", "internlm2"])
def test_the_shard_units_are_the_layers_and_the_projector(
    tmp_path: Path, language: Language, vision: Vision, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in launcher_environment().items():
        monkeypatch.setenv(name, value)
    model = empty_model(build_checkpoint(tmp_path, "opengvlab", language=language, vision=vision))
    is_unit = fsdp2_prepare_auto_wrap_policy(FullyShardedDataParallelPlugin(), ShardedRoot(model))
    assert is_unit is not None
    layers = [*model.model.vision_tower.encoder.layer, *model.model.language_model.layers]
    expected = [*layers, model.model.multi_modal_projector]
    assert {id(module) for module in model.modules() if is_unit(module)} == set(map(id, expected))


def make_accelerator_with_fsdp1() -> None:
    one = {"FSDP_VERSION": "1", "FSDP_SYNC_MODULE_STATES": "false", "FSDP_CPU_RAM_EFFICIENT_LOADING": "false"}
    os.environ |= one
    with pytest.raises(ValueError, match=r"launch with recipes/fsdp2\.yaml"):
        make_accelerator("bf16")


def test_fsdp1_is_refused_because_it_rounds_positions(tmp_path: Path) -> None:
    run_sharded(tmp_path, 1, make_accelerator_with_fsdp1)


def run_jobs(jobs: tuple[Job, ...], resume: bool) -> None:
    """Run jobs in a process that shards them."""
    for each in jobs:
        accelerator = make_accelerator(each.recipe.precision)
        assert accelerator.is_fsdp2
        run_job(each, accelerator, resume=resume)
        accelerator.free_memory()


def test_a_sharded_run_equals_an_ordinary_one(tmp_path: Path) -> None:
    """Two processes give the losses and the weights of one, and four processes can go on halfway."""
    settings: dict[str, Any] = {"recipe": recipe(steps=4), "save_every": 2}
    alone = job(tmp_path, "mpo", name="alone", **settings)
    run_job(alone, make_accelerator("fp32"), resume=False)
    sharded = job(tmp_path, "mpo", name="sharded", **settings)
    run_sharded(tmp_path, 2, run_jobs, (sharded,), False)
    for ours, theirs in zip(figures(sharded), figures(alone), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert_close(sharded, weights(alone.output / "model"))
    first = weights(sharded.output / "model")
    cut_off(sharded, "step-00000004")
    run_sharded(tmp_path, 4, run_jobs, (sharded,), True)
    assert_close(sharded, first)


def test_a_sharded_run_in_bf16_is_near_an_ordinary_one_in_fp32(tmp_path: Path) -> None:
    """The packs have 4,000 tokens and several sequences, and the vision tower is frozen.

    Two processes have two micro-batches in a step, and four processes resume the runs with one. At the first
    step of a preference run policy and reference are equal, so DPO's loss is ln 2 and BCO's is 2 ln 2.
    """
    long = recipe(steps=2, max_tokens=4000, open_packs=1, parts=("projector", "language"))
    long = replace(long, learning_rate=1e-4, deltas=(0.25, 0.0625))
    exact = [job(tmp_path, kind, name=f"{kind}-fp32", recipe=long, length=80) for kind in ("sft", "mpo")]
    for each in exact:
        run_job(each, make_accelerator("fp32"), resume=False)
    bf16 = replace(long, precision="bf16")
    rough = tuple(
        replace(each, recipe=bf16, output=tmp_path / f"{each.kind}-bf16", save_every=1) for each in exact
    )
    run_sharded(tmp_path, 2, run_jobs, rough, False)
    for ours, theirs in zip(rough, exact, strict=True):
        assert figures(ours)[0]["gradient"] == pytest.approx(figures(theirs)[0]["gradient"], rel=0.02)
        for sharded, alone in zip(figures(ours), figures(theirs), strict=True):
            assert sharded["samples"] == alone["samples"] and sharded["tokens"] == alone["tokens"]
            assert sharded["tokens"] > 8000
            assert sharded["loss"] == pytest.approx(alone["loss"], rel=0.005)
            print(
                f"{ours.kind}: loss {alone['loss']:.4f} alone in fp32, {sharded['loss']:.4f} sharded in bf16"
            )
    first = figures(rough[1])[0]
    assert first["margin"] == 0
    assert first["preference"] == pytest.approx(0.693147, abs=1e-6)
    assert first["quality"] == pytest.approx(1.386294, abs=1e-6)
    before = {each.kind: (figures(each), weights(each.output / "model")) for each in rough}
    for each in rough:
        cut_off(each, "step-00000002")
    run_sharded(tmp_path, 4, run_jobs, rough, True)
    for each in rough:
        log, first_weights = before[each.kind]
        for resumed, straight in zip(figures(each), log, strict=True):
            assert resumed == pytest.approx(straight, rel=0.01, abs=0.01)
        assert_close(each, first_weights)
        start = weights(each.model)
        frozen = [name for name in start if name.startswith("vision_model.")]
        assert frozen and all(start[name].equal(first_weights[name]) for name in frozen)


def cut_off(finished: Job, last_state: str) -> None:
    """Make a finished run one that was cut off before its last state."""
    shutil.rmtree(finished.output / "model")
    shutil.rmtree(finished.output / "checkpoints" / last_state)


def assert_close(finished: Job, expected: Mapping[str, torch.Tensor]) -> None:
    """Assert that the weights are equal except for rounding.

    AdamW moves a weight by up to the learning rate at each step. The order of a sum may decide the sign of a
    gradient near 0, so single weights may move apart by twice the learning rate at each step.
    """
    ours = weights(finished.output / "model")
    assert ours.keys() == expected.keys()
    farthest = 2 * finished.recipe.learning_rate * len(figures(finished))
    for name, tensor in ours.items():
        difference = (tensor - expected[name]).abs()
        assert difference.max() <= farthest, name
        assert (difference > 1e-5).double().mean() <= 1e-3, name


def test_an_empty_model_differs_from_a_loaded_one_only_in_its_weights(tmp_path: Path) -> None:
    start = job(tmp_path).model
    empty, full = empty_model(start), load_model(start, dtype=torch.float32)
    assert {n: p.shape for n, p in empty.named_parameters()} == {
        n: p.shape for n, p in full.named_parameters()
    }
    addresses = {parameter.data_ptr() for parameter in empty.parameters()}
    assert len(addresses) == len(list(empty.parameters())), (
        "accelerate tells parameters apart by their addresses"
    )
    buffers = dict(full.named_buffers())
    assert buffers
    for name, buffer in empty.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
