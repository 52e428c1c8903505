"""Held-out data are evaluated during a run, and the run doesn't change by it."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.ttscaling.train.jobs import figures, job, recipe, weights, write_data
from tests.ttscaling.train.sharded import run_sharded
from ttscaling.records.bad_records import TooManyBadRecordsError
from ttscaling.records.meta import read_meta, write_meta
from ttscaling.reports.step_f1 import macro_f1
from ttscaling.train.checkpoints.load import load_model
from ttscaling.train.objectives.objective import hidden_states
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.run.job import Job, run_job
from ttscaling.train.run.sharding import make_accelerator
from ttscaling.train.run.task import TrainingTask, make_task
from ttscaling.train.settings.kinds import Kind


def evaluated_job(folder: Path, kind: Kind, **changes: Any) -> Job:
    """Return a job of 4 steps on the data of `jobs.job`, evaluated on two sets every 2 steps."""
    plain = job(folder, kind, recipe=recipe(steps=4), save_every=2, **changes)
    heldout = folder / "heldout.json"
    sets = []
    for name in ("first", "second"):
        write_data(folder / name, kind, folder / "one.json")
        (one,) = read_meta(folder / "one.json", base=Path())
        sets.append(replace(one, name=name, data_augment=True, repeat_time=0.6 if name == "first" else 3.0))
    write_meta(heldout, sets, base=Path())
    return replace(plain, heldout=heldout, evaluate_every=2)


def evaluations(finished: Job) -> dict[int, dict[str, float]]:
    """Return the logged figures of held-out data by their step, without the prefix."""
    rows = [row for row in figures(finished) if "loss" not in row]
    return {
        int(row["step"]): {name.removeprefix("eval/"): row[name] for name in row if name != "step"}
        for row in rows
    }


def single_samples(training_job: Job, name: str, number: int) -> tuple[TrainingTask, list[DrawnSample[Any]]]:
    """Return the first `number` records of a held-out set as samples, in the order of their draws."""
    assert training_job.heldout is not None
    (data_set,) = (one for one in read_meta(training_job.heldout, base=Path()) if one.name == name)
    once = replace(training_job.recipe, steps=None, epochs=1, batch=1)
    plain = replace(data_set, data_augment=False, repeat_time=min(1.0, data_set.repeat_time))
    task = make_task(training_job.kind, training_job.model, [plain], once)
    mixture = task.stream(0).mixture
    drawn = [DrawnSample(draw, task.corpus.sample(draw, once.limits)) for draw in mixture]
    assert len(drawn) == number
    return task, drawn


def test_the_figures_are_those_of_the_samples_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The critic's F1 comes from P(+) of each sample alone, by the function of `internvl3 eval critic`."""
    training_job = evaluated_job(tmp_path, "critic")
    run_job(training_job, make_accelerator("fp32"), resume=False)
    assert capsys.readouterr().err.count("evaluating 16 held-out records") == 3
    logged = evaluations(training_job)
    assert list(logged) == [0, 2, 4]
    for checkpoint, step in ((training_job.model, 0), (training_job.output / "model", 4)):
        measured = {
            name: judged_one_by_one(training_job, name, number, checkpoint)
            for name, number in (("first", 6), ("second", 10))
        }
        for name, (scores, labels, _) in measured.items():
            assert logged[step][f"{name}/f1"] == pytest.approx(macro_f1(scores, labels, threshold=0.5).macro)
        scores, labels, losses = ([*first, *second] for first, second in zip(*measured.values(), strict=True))
        together = macro_f1(scores, labels, threshold=0.5)
        assert logged[step]["f1"] == pytest.approx(together.macro)
        assert logged[step]["f1_wrong"] == pytest.approx(together.wrong)
        # Each label weighs 1 / sqrt(3) here, because each solution has 3 steps.
        assert logged[step]["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert logged[4]["loss"] < logged[0]["loss"]


@torch.no_grad()
def judged_one_by_one(
    training_job: Job, name: str, number: int, checkpoint: Path
) -> tuple[list[float], list[int], list[float]]:
    """Return P(+), the label (1 or -1) and the loss of each step of a held-out set."""
    model = load_model(checkpoint, dtype=torch.float32)
    task, samples = single_samples(training_job, name, number)
    plus, minus = task.objective.labels  # type: ignore[attr-defined]
    scores, labels = [], []
    for sample in samples:
        packed = task.objective.micro([sample]).batch.packed
        logits_TV = model.lm_head(hidden_states(model, packed))[0]
        for position in torch.nonzero(packed.weight_1T[0]).flatten():
            scores.append(float(logits_TV[position, [plus, minus]].softmax(dim=0)[0]))
            labels.append(1 if int(packed.target_1T[0, position]) == plus else -1)
    losses = [
        -math.log(score if label == 1 else 1 - score) for score, label in zip(scores, labels, strict=True)
    ]
    return scores, labels, losses


@pytest.mark.parametrize("kind", ["pretrain", "mpo"])
def test_an_evaluation_does_not_change_the_run(kind: Kind, tmp_path: Path) -> None:
    """The weights are the same bytes, also after a resumed run, whose log is that of a straight run."""
    evaluated = evaluated_job(tmp_path, kind)
    plain = replace(evaluated, heldout=None, output=tmp_path / "plain")
    resumed = replace(evaluated, output=tmp_path / "resumed")
    for one in (evaluated, plain):
        run_job(one, make_accelerator("fp32"), resume=False)
    run_job(resumed, make_accelerator("fp32"), resume=False)
    for path in ("checkpoints/step-00000004", "model"):
        shutil.rmtree(resumed.output / path)
    run_job(resumed, make_accelerator("fp32"), resume=True)
    for one in (evaluated, resumed):
        ours, theirs = weights(one.output / "model"), weights(plain.output / "model")
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert figures(resumed) == figures(evaluated)
    assert [row for row in figures(evaluated) if "loss" in row] == figures(plain)
    if kind == "mpo":
        before, after = evaluations(evaluated)[0], evaluations(evaluated)[4]
        assert before["margin"] == pytest.approx(0, abs=1e-4), "the reference is the model at the start"
        assert after["margin"] > 0.1 and 0 <= after["preferred"] <= 1


def run_in_process(training_job: Job) -> None:
    run_job(training_job, make_accelerator("fp32"), resume=False)


def test_two_processes_with_a_sharded_model_measure_what_one_measures(tmp_path: Path) -> None:
    alone = evaluated_job(tmp_path, "critic", name="alone")
    sharded = replace(alone, output=tmp_path / "sharded")
    run_in_process(alone)
    run_sharded(tmp_path, 2, run_in_process, sharded)
    one, two = evaluations(alone), evaluations(sharded)
    assert list(one) == list(two) == [0, 2, 4]
    for step, expected in one.items():
        assert two[step] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_bad_held_out_data_stop_a_run_before_its_first_step(tmp_path: Path) -> None:
    training_job = evaluated_job(tmp_path, "sft")
    assert training_job.heldout is not None
    for data_set in read_meta(training_job.heldout, base=Path()):
        data_set.annotation.write_text(2 * (json.dumps({"conversations": []}) + "\n"))
    with pytest.raises(TooManyBadRecordsError, match="1 of 1 records were bad"):
        run_job(training_job, make_accelerator("fp32"), resume=False)
    assert not figures(training_job)
