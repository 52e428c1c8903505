"""A disk that is full ends a run in one line, and nothing that was complete is lost.

The limit of a file's size stands for the end of the disk. It ends a write in the same way.
"""

from pathlib import Path
from typing import Any

import pytest
from torch.distributed.checkpoint.api import CheckpointException

from tests.file_limit import files_up_to
from tests.ttscaling.train.jobs import figures, job, recipe
from tests.ttscaling.train.sharded import run_sharded
from ttscaling.train.run.disk import writing
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import make_accelerator


@pytest.mark.parametrize("size", [1_000_000, 2_000_000], ids=["weights", "optimiser"])
def test_a_state_that_cannot_be_written_ends_the_run(size: int, tmp_path: Path) -> None:
    """The earlier state stays, what was written of the new one is removed, and the run goes on later."""
    training_job = job(tmp_path, recipe=recipe(steps=3), save_every=1)
    states = training_job.output / "checkpoints"
    run_job(job(tmp_path, recipe=recipe(steps=3), save_every=2), make_accelerator("fp32"), resume=False)
    for name in ("checkpoints/step-00000003", "model"):
        (training_job.output / name).rename(tmp_path / Path(name).name)
    with files_up_to(size), pytest.raises(OSError, match=r"the state of step 3 can't be written") as caught:
        run_job(training_job, make_accelerator("fp32"), resume=True)
    message = str(caught.value)
    assert "GB left: make room, and use --resume, which begins from step 2" in message
    assert "\n" not in message
    assert [path.name for path in states.iterdir()] == ["step-00000002"]
    run_job(training_job, make_accelerator("fp32"), resume=True)
    assert len(figures(training_job)) == 3


def run_on_a_full_disk(training_job: Job) -> None:
    with files_up_to(500_000), pytest.raises(OSError, match="the state of step 1 can't be written"):
        run_job(training_job, make_accelerator("fp32"), resume=False)


def test_a_sharded_state_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    training_job = job(tmp_path, recipe=recipe(steps=2), save_every=1)
    run_sharded(tmp_path, 2, run_on_a_full_disk, training_job)
    assert not list((training_job.output / "checkpoints").iterdir())


def test_a_checkpoint_that_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    training_job = job(tmp_path, recipe=recipe(steps=1))
    run_job(training_job, make_accelerator("fp32"), resume=False)
    (training_job.output / "model").rename(tmp_path / "model")
    with files_up_to(1_000_000), pytest.raises(OSError, match="the trained checkpoint can't be written"):
        run_job(training_job, make_accelerator("fp32"), resume=True)
    assert not (training_job.output / "model").exists()
    run_job(training_job, make_accelerator("fp32"), resume=True)
    assert (training_job.output / "model").exists()


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^CUDA out of memory$"), writing("a state", tmp_path, "go on"):
        raise RuntimeError("CUDA out of memory")
    failures: Any = {0: (OSError("no space"), None)}
    expected = r"a state can't be written into .* \(no space\)"
    with pytest.raises(OSError, match=expected), writing("a state", tmp_path, "go on"):
        raise CheckpointException("write", failures)
