"""A loss or a gradient that isn't finite ends a run before it reaches a weight or a saved state."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from tests.ttscaling.train.jobs import figures, job, recipe, weights
from tests.ttscaling.train.sharded import run_sharded
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import ShardedRoot, make_accelerator
from ttscaling.train.run.step import NotFiniteError


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wild = job(tmp_path, recipe=recipe(steps=30, learning_rate=1e20, warmup=0, clip=1e30))
    with pytest.raises(NotFiniteError, match=r"lower --learning-rate or --clip") as caught:
        run_job(wild, make_accelerator("fp32"), resume=False)
    taken = len(figures(wild))
    assert f"step {taken + 1} was not taken" in str(caught.value)
    assert f"Go on from step {taken} with --resume" in str(caught.value)
    assert not (wild.output / "model").exists()
    mild = job(tmp_path, recipe=recipe(steps=taken + 2, learning_rate=1e-6, warmup=0, clip=0.5))
    with pytest.raises(ValueError, match=r"other settings \(recipe\.steps\)"):
        run_job(mild, make_accelerator("fp32"), resume=True)


def run_with_a_bad_gradient(training_job: Job) -> None:
    """Run a job. In its third step the gradient of the first micro-batch of the second process is NaN.

    The loss of this step is finite.
    """
    losses = 0

    def spoil(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        nonlocal losses
        if isinstance(module, ShardedRoot):
            losses += 1
            if losses == 5 and os.environ["RANK"] == "1":
                output[0].register_hook(lambda gradient: gradient * float("nan"))

    register_module_forward_hook(spoil)
    with pytest.raises(NotFiniteError, match="norm of its gradient is nan"):
        run_job(training_job, make_accelerator("fp32"), resume=False)


def test_a_bad_gradient_of_one_process_reaches_no_state(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both processes end, and the run can go on from the step before, with a smaller learning rate."""
    training_job = job(tmp_path, recipe=recipe(steps=4), save_every=100)
    run_sharded(tmp_path, 2, run_with_a_bad_gradient, training_job)
    states = [path.name for path in (training_job.output / "checkpoints").iterdir()]
    assert states == ["step-00000002"]
    assert len(figures(training_job)) == 2
    lower = job(tmp_path, recipe=recipe(steps=4, learning_rate=5e-4), save_every=100)
    run_sharded(tmp_path, 2, resume, lower)
    assert len(figures(training_job)) == 4
    assert all(tensor.isfinite().all() for tensor in weights(training_job.output / "model").values())


def resume(training_job: Job) -> None:
    run_job(training_job, make_accelerator("fp32"), resume=True)
