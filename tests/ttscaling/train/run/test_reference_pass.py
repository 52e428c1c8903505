"""A reference pass that was cut off goes on, and gives the references of a pass without a break."""

import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.multiprocessing.spawn import ProcessExitedException

from tests.ttscaling.train.jobs import job, recipe
from tests.ttscaling.train.sharded import run_sharded
from ttscaling.records.meta import read_meta
from ttscaling.train.checkpoints.load import load_model
from ttscaling.train.objectives.preference import Preference
from ttscaling.train.objectives.references import References
from ttscaling.train.run.job import Job
from ttscaling.train.run.pass_states import PassState
from ttscaling.train.run.progress_display import ProgressDisplay, RunLength
from ttscaling.train.run.reference_pass import OnStep, compute_references, identity_of, showing
from ttscaling.train.run.sharding import make_accelerator, prepared
from ttscaling.train.run.task import TrainingTask, make_task


def task_of(training_job: Job) -> TrainingTask:
    data_sets = read_meta(training_job.data, base=training_job.base)
    return make_task(training_job.kind, training_job.model, data_sets, training_job.recipe)


def run_pass(training_job: Job, folder: Path, on_step: OnStep) -> References:
    accelerator = make_accelerator(training_job.recipe.precision)
    task = task_of(training_job)
    module, _ = prepared(load_model(training_job.model, dtype=torch.float32), task, accelerator)
    compute_references(module, task, accelerator, folder, on_step=on_step)
    assert isinstance(task.objective, Preference) and task.objective.references is not None
    return task.objective.references


class Steps:
    """Records the steps after which it is called. After the step `last` it ends the pass with `end`."""

    def __init__(self, *, last: int | None = None, end: Any = None) -> None:
        self.numbers: list[int] = []
        self._last, self._end = last, end

    def __call__(self, state: PassState) -> None:
        self.numbers.append(state.step)
        if state.step == self._last:
            self._end()


def interrupt() -> None:
    raise KeyboardInterrupt


def values(references: References, task: TrainingTask) -> torch.Tensor:
    """Return the references of all draws that a pass over `task` makes, in their order."""
    draws = sorted(
        drawn.draw.number for index in range(task.recipe.num_streams) for drawn in first_packs(task, index)
    )
    return torch.stack(references.for_draws(draws))


def first_packs(task: TrainingTask, index: int) -> Any:
    """Yield the samples of the first packs of a stream, as many as the run has steps."""
    assert task.recipe.steps is not None
    stream = task.stream(index)
    for _ in range(task.recipe.steps):
        yield from next(stream)


def test_a_pass_goes_on_after_the_step_at_which_it_ended(tmp_path: Path) -> None:
    training_job = job(tmp_path, "mpo", recipe=recipe(steps=5))
    straight = run_pass(training_job, tmp_path / "straight", Steps())
    first, second, third = Steps(last=3, end=interrupt), Steps(), Steps()
    with pytest.raises(KeyboardInterrupt):
        run_pass(training_job, tmp_path / "references", first)
    assert not (tmp_path / "references" / "complete").exists()
    resumed = run_pass(training_job, tmp_path / "references", second)
    assert first.numbers == [0, 1, 2, 3] and second.numbers == [3, 4, 5]
    task = task_of(training_job)
    assert torch.equal(values(resumed, task), values(straight, task))
    run_pass(training_job, tmp_path / "references", third)
    assert third.numbers == [], "a complete pass isn't repeated"


def test_a_pass_shows_a_line_for_its_first_step_and_every_few(tmp_path: Path) -> None:
    training_job, text = job(tmp_path, "mpo", recipe=recipe(steps=4)), StringIO()
    console, length = Console(file=text, width=30), RunLength(steps=4)
    with ProgressDisplay(title="references", length=length, every=3, console=console) as display:
        run_pass(training_job, tmp_path / "references", showing(display))
    lines = [line.split("  ")[:2] for line in text.getvalue().splitlines()]
    assert lines == [["references", f"step {step} of 4"] for step in (1, 3, 4)]


def kill_second_process(training_job: Job, folder: Path) -> None:
    rank = int(os.environ["RANK"])
    run_pass(training_job, folder, Steps(last=2, end=lambda: os._exit(9) if rank == 1 else None))


def test_one_process_goes_on_where_two_were_killed(tmp_path: Path) -> None:
    """The killed pass loses at most one step, and what its processes wrote is read with the rest."""
    training_job = job(tmp_path, "mpo", recipe=recipe(steps=4))
    with pytest.raises(ProcessExitedException, match="exit code 9"):
        run_sharded(tmp_path, 2, kill_second_process, training_job, tmp_path / "references")
    steps = Steps()
    resumed = run_pass(training_job, tmp_path / "references", steps)
    assert steps.numbers in ([1, 2, 3, 4], [2, 3, 4])
    task = task_of(training_job)
    straight = run_pass(training_job, tmp_path / "straight", Steps())
    torch.testing.assert_close(values(resumed, task), values(straight, task), rtol=0, atol=1e-3)
    names = sorted(path.name for path in (tmp_path / "references").glob("*.jsonl"))
    assert names == ["00000-of-00001.jsonl", "00000-of-00002.jsonl", "00001-of-00002.jsonl"]


def test_a_pass_with_another_number_of_streams_begins_again(tmp_path: Path) -> None:
    four, two = (job(tmp_path, "mpo", recipe=recipe(steps=2, streams=streams)) for streams in (4, 2))
    with pytest.raises(KeyboardInterrupt):
        run_pass(four, tmp_path / "references", Steps(last=1, end=interrupt))
    steps = Steps()
    references = run_pass(two, tmp_path / "references", steps)
    assert steps.numbers == [0, 1, 2]
    values(references, task_of(two))


def test_references_of_other_settings_end_the_pass_before_it_begins(tmp_path: Path) -> None:
    training_job = job(tmp_path, "mpo", recipe=recipe(steps=2))
    with pytest.raises(KeyboardInterrupt):
        run_pass(training_job, tmp_path / "references", Steps(last=1, end=interrupt))
    other, steps = job(tmp_path, "mpo", recipe=recipe(steps=2, deltas=(0.5,))), Steps()
    assert identity_of(task_of(other)) != identity_of(task_of(training_job))
    with pytest.raises(ValueError, match="of other data or settings"):
        run_pass(other, tmp_path / "references", steps)
    assert steps.numbers == []
