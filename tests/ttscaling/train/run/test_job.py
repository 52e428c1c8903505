"""Training runs of every kind, resumed runs, runs on two processes, and errors of a run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ttscaling.train.jobs import command_line, figures, job, recipe, weights
from ttscaling.records.bad_records import TooManyBadRecordsError
from ttscaling.records.meta import read_meta
from ttscaling.train.run.global_batch import own_streams
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import make_accelerator
from ttscaling.train.run.states import Checkpoints
from ttscaling.train.settings.kinds import Kind
from ttscaling.train.settings.recipe import Part


def run(training_job: Job, *, resume: bool) -> None:
    run_job(training_job, make_accelerator(training_job.recipe.precision), resume=resume)


ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("kind", ["pretrain", "sft", "critic", "mpo"])
def test_a_run_lowers_its_loss(kind: Kind, tmp_path: Path) -> None:
    training_job = job(tmp_path, kind)
    run(training_job, resume=False)
    log = figures(training_job)
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["loss"] < 0.85 * log[0]["loss"]
    samples = [line["samples"] for line in log]
    assert samples == sorted(set(samples))


def test_a_preference_run_starts_at_its_reference(tmp_path: Path) -> None:
    """At the first step policy and reference are equal, so DPO's loss is ln 2 and BCO's loss is 2 ln 2."""
    training_job = job(tmp_path, "mpo")
    run(training_job, resume=False)
    first, last = figures(training_job)[0], figures(training_job)[-1]
    assert first["preference"] == pytest.approx(0.693147, abs=1e-5)
    assert first["quality"] == pytest.approx(1.386294, abs=1e-5)
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert last["margin"] > 1


@pytest.mark.parametrize("kind", ["sft", "mpo"])
def test_a_killed_run_goes_on_to_the_same_weights(kind: Kind, tmp_path: Path) -> None:
    twelve = recipe(steps=12)
    straight = job(tmp_path, kind, name="straight", recipe=twelve)
    killed = job(tmp_path, kind, name="killed", recipe=twelve)
    run(straight, resume=False)
    command = [sys.executable, "-m", "ttscaling.train", *command_line(killed)]
    process = subprocess.Popen(command, env=ALONE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first_state = killed.output / "checkpoints" / "step-00000003"
    wait_for(first_state.exists, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed.output / "model").exists(), "the run ended before it was killed: give it more steps"
    run(killed, resume=True)
    assert_equal(killed, straight)
    assert figures(killed) == figures(straight)
    kept = sorted(path.name for path in (killed.output / "checkpoints").iterdir())
    assert kept == ["step-00000009", "step-00000012"]


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    """The global batches are equal up to the end of the data, where one process has no pack any more."""
    epoch: dict[str, Any] = {
        "recipe": recipe(steps=None, epochs=1.0, open_packs=1),
        "save_every": 1,
        "keep": 9,
    }
    alone = job(tmp_path, "mpo", name="alone", **epoch)
    together = job(tmp_path, "mpo", name="together", **epoch)
    run(alone, resume=False)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "ttscaling.train"]
    subprocess.run([sys.executable, *launcher, *command_line(together)], env=ALONE, check=True)
    references = sorted(path.name for path in (together.output / "references").glob("*.jsonl"))
    assert references == ["00000-of-00002.jsonl", "00001-of-00002.jsonl"], "the run had two processes"
    one, two = figures(alone), figures(together)
    assert one[-1]["samples"] == two[-1]["samples"] == 10, "each of the ten records once"
    assert len(one) == len(two) > 1
    for ours, theirs in zip(one, two, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0, abs=1e-5)
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)
    assert_close(together, alone)
    # One process can resume a run of two.
    first, *later = sorted((together.output / "checkpoints").iterdir())
    assert first.name == "step-00000001"
    for folder in (*later, together.output / "model"):
        shutil.rmtree(folder)
    run(together, resume=True)
    assert_close(together, alone)


def test_losses_in_bf16_are_close_to_those_in_fp32(tmp_path: Path) -> None:
    """The second run has its own process, because accelerate keeps one precision in a process."""
    exact = job(tmp_path, name="fp32", recipe=recipe(steps=2))
    rough = job(tmp_path, name="bf16", recipe=recipe(steps=2, precision="bf16"))
    run(exact, resume=False)
    subprocess.run([sys.executable, "-m", "ttscaling.train", *command_line(rough)], env=ALONE, check=True)
    losses = [[line["loss"] for line in figures(finished)] for finished in (rough, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05) and losses[0] != losses[1]
    assert {tensor.dtype for tensor in weights(rough.output / "model").values()} == {torch.float32}


def test_a_batch_that_processes_cannot_divide_is_refused() -> None:
    assert [list(own_streams(6, rank, 3)) for rank in range(3)] == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match="6 streams can't be divided among 4 processes"):
        own_streams(6, 0, 4)


def test_a_batch_has_more_packs_than_streams(tmp_path: Path) -> None:
    """The data are read by two streams, and each gives two of the four packs of a step."""
    training_job = job(tmp_path, recipe=recipe(steps=None, epochs=1.0, streams=2))
    run(training_job, resume=False)
    log = figures(training_job)
    assert log[-1]["samples"] == 10
    states = Checkpoints(training_job.output / "checkpoints", every=1, keep=1).saved()
    assert sorted(path.name for path in (states[-1] / "streams").iterdir()) == ["00000.json", "00001.json"]


def test_an_unfinished_state_does_not_count(tmp_path: Path) -> None:
    states = Checkpoints(tmp_path, every=5, keep=2)
    assert states.latest() is None and states.due(10) and not states.due(11)
    for name in ("step-00000005", "step-00000010", "step-00000015.unfinished"):
        (tmp_path / name).mkdir()
    assert states.latest() == tmp_path / "step-00000010"


@pytest.mark.parametrize("parts", [("language",), ("vision", "projector")])
def test_only_the_trained_parts_change(parts: tuple[Part, ...], tmp_path: Path) -> None:
    training_job = job(tmp_path, recipe=recipe(steps=2, parts=parts))
    run(training_job, resume=False)
    before, after = weights(training_job.model), weights(training_job.output / "model")
    prefixes = {"vision": "vision_model.", "projector": "mlp1.", "language": "language_model."}
    for part, prefix in prefixes.items():
        changed = [name for name in before if name.startswith(prefix) and not before[name].equal(after[name])]
        assert bool(changed) == (part in parts), part


def test_recomputing_activations_changes_nothing(tmp_path: Path) -> None:
    with_, without = (
        job(tmp_path, name=str(recompute), recipe=recipe(steps=2, recompute=recompute))
        for recompute in (True, False)
    )
    run(with_, resume=False)
    run(without, resume=False)
    assert_equal(with_, without)


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    training_job = job(tmp_path, recipe=recipe(steps=1))
    run(training_job, resume=False)
    with pytest.raises(ValueError, match="add --resume"):
        run(training_job, resume=False)
    other = job(tmp_path, recipe=recipe(steps=1, weight_decay=0.1, deltas=(1.0,)))
    with pytest.raises(ValueError, match=r"\(recipe\.deltas, recipe\.weight_decay\)"):
        run(other, resume=True)
    before = weights(training_job.output / "model")
    run(training_job, resume=True)  # the run has ended, so nothing changes
    assert all(tensor.equal(before[name]) for name, tensor in weights(training_job.output / "model").items())


def test_a_mistyped_path_leaves_no_folder_behind(tmp_path: Path) -> None:
    training_job = job(tmp_path, "sft", recipe=recipe(steps=1))
    for wrong in (
        replace(training_job, data=tmp_path / "none.json"),
        replace(training_job, model=tmp_path / "none"),
    ):
        with pytest.raises((ValueError, OSError)):
            run(wrong, resume=False)
        assert not training_job.output.exists()
    run(training_job, resume=False)


@pytest.mark.parametrize("kind", ["sft", "mpo"])
def test_bad_records_are_a_share_of_all_data_not_of_one_stream(kind: Kind, tmp_path: Path) -> None:
    """One of four streams has a bad record among its three records, so a tenth of all records is bad."""
    training_job = job(tmp_path, kind, recipe=recipe(steps=None, epochs=1.0, bad_records=0.1))
    spoil(training_job, 1)
    run(training_job, resume=False)
    assert figures(training_job)[-1]["samples"] == 9


def test_a_run_that_bad_records_ended_goes_on_with_a_larger_share(tmp_path: Path) -> None:
    strict = job(tmp_path, recipe=recipe(steps=None, epochs=1.0, bad_records=0.1), save_every=100)
    spoil(strict, 2)
    with pytest.raises(TooManyBadRecordsError, match="2 of 10 records were bad"):
        run(strict, resume=False)
    assert Checkpoints(strict.output / "checkpoints", every=1, keep=1).latest() is not None
    patient = job(tmp_path, recipe=recipe(steps=None, epochs=1.0, bad_records=0.2), save_every=100)
    run(patient, resume=True)
    assert (patient.output / "model").exists()


def test_a_run_without_a_single_record_trains_nothing(tmp_path: Path) -> None:
    empty = job(tmp_path, recipe=recipe(steps=None, epochs=1.0, bad_records=1.0))
    spoil(empty, 10)
    with pytest.raises(ValueError, match="no record that can be used"):
        run(empty, resume=False)
    assert not (empty.output / "model").exists()


def spoil(training_job: Job, count: int) -> None:
    """Make the first `count` records of a job's data bad."""
    (data_set,) = read_meta(training_job.data, base=training_job.base)
    lines = data_set.annotation.read_text().splitlines(keepends=True)
    data_set.annotation.write_text("".join(["{}\n"] * count + lines[count:]))


def assert_equal(one: Job, other: Job) -> None:
    expected = weights(other.output / "model")
    ours = weights(one.output / "model")
    assert ours.keys() == expected.keys()
    assert [name for name, tensor in ours.items() if not tensor.equal(expected[name])] == []


def assert_close(one: Job, other: Job) -> None:
    expected = weights(other.output / "model")
    for name, tensor in weights(one.output / "model").items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-5)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert process.poll() is None, "the process ended by itself"
        time.sleep(0.001)
