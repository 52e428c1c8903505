"""Test the MPO experiment: its pairs, its figures, its report, and a small run of all of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from clients.cli import main
from ttscaling.answers.final_answer import final_answer
from ttscaling.nano_tasks.problems import Problem, problems
from ttscaling.records.meta import read_meta
from ttscaling.records.pairs import PairRecord, parse_pair
from ttscaling.steps import split_steps
from ttscaling.train.nano.experiments.mpo.answering import METRICS, figures
from ttscaling.train.nano.experiments.mpo.page import mpo_lines, summary
from ttscaling.train.nano.experiments.mpo.run import MpoPlan, embedded, make_pairs, seed_folder, until_slip

RIGHT, WRONG = "1+2=3\n\nFinal answer: 3", "1+2=4\n\nFinal answer: 4"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> MpoPlan:
    return MpoPlan(
        directory=tmp_path_factory.mktemp("mpo"),
        policy=embedded("policy"),
        critic=embedded("critic"),
        seeds=(1,),
        rates=(1e-5,),
        variants=("without quality",),
        questions=6,
        problems=18,
        solutions=4,
        temperature=1.3,
    )


@pytest.fixture(scope="module")
def pairs(plan: MpoPlan) -> list[PairRecord]:
    make_pairs(plan, 1)
    annotation = seed_folder(plan, 1) / "pairs.jsonl"
    return [parse_pair(json.loads(line)) for line in annotation.read_text().splitlines()]


def test_right_solutions_are_preferred_to_wrong_ones(plan: MpoPlan, pairs: list[PairRecord]) -> None:
    (data_set,) = read_meta(seed_folder(plan, 1) / "meta.json", base=seed_folder(plan, 1))
    assert data_set.length == len(pairs) > 4
    for pair in pairs:
        assert final_answer(pair.chosen) == pair.answer != final_answer(pair.rejected)
        *before, last = split_steps(pair.rejected)
        assert before == list(split_steps(pair.chosen)[: len(before)])
        assert last not in split_steps(pair.chosen)[len(before) : len(before) + 1]
        assert (data_set.root / pair.images[0]).is_file()
    assert make_pairs(plan, 1) == len(pairs)  # a second call keeps them


@pytest.mark.parametrize(
    ("chosen", "rejected", "cut"),
    [
        ("a\n\nb\n\nc", "a\n\nx\n\ny", "a\n\nx"),
        ("a\n\nb", "x\n\nb", "x"),
        ("a\n\nb", "a\n\nb\n\nb", "a\n\nb\n\nb"),
        ("a\n\nb", "a", "a"),
    ],
)
def test_a_rejected_response_ends_where_it_goes_wrong(chosen: str, rejected: str, cut: str) -> None:
    pair = PairRecord(question="?", chosen=chosen, rejected=rejected)
    assert until_slip(pair) == PairRecord(question="?", chosen=chosen, rejected=cut)


def test_figures_of_a_question(plan: MpoPlan) -> None:
    """Candidate 0 is the greedy one. Best-of-8 takes the first of the best candidates."""
    (drawn,) = problems("train", 1, 1)
    question = Problem(drawn.image, drawn.question, "3", drawn.kind)
    texts = (WRONG, RIGHT, RIGHT, WRONG, RIGHT, WRONG, WRONG, WRONG)
    values_NM = figures([question], [texts], [[0.1, 0.2, 0.9, 0.9, 0.3, 0.1, 0.1, 0.1]])
    assert dict(zip(METRICS, values_NM[0], strict=True)) == {
        "pass@1": 3 / 7,
        "greedy": 0,
        "best_of_8": 1,
        "pass@8": 1,
    }


def test_changes_are_paired() -> None:
    """Every question rises by 10 points with one seed and by 30 with the other, so the change is 20."""
    before_SNM = np.random.default_rng(0).random((2, 50, len(METRICS))) / 2
    after = before_SNM + np.array([0.1, 0.3])[:, None, None]
    report = summary(before_SNM, {"all terms": after, "quality alone": after[:1]}, seed=1)
    assert report["after"]["quality alone"]["change"]["greedy"]["difference"] == pytest.approx(0.1)
    change = report["after"]["all terms"]["change"]["pass@1"]
    assert [change[key] for key in ("difference", "low", "high")] == pytest.approx([0.2] * 3)
    assert change["seeds"] == pytest.approx([0.1, 0.3])
    spread = report["before"]["pass@1"]
    assert spread["low"] < spread["accuracy"] < spread["high"]
    page = mpo_lines(report | {"rates": {"1e-05": 0.5}, "rate": 1e-5}, "mpo.png")
    assert any(line.startswith("| quality alone (seeds: 1) |") for line in page)
    assert any(line.startswith("| all terms |") and "+20.0 (+20.0 to +20.0)" in line for line in page)


def test_the_whole_experiment_in_small(
    plan: MpoPlan, pairs: list[PairRecord], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The pairs exist already. A policy is trained and measured, and the page gets a table and a plot."""
    command = ["train", "nano-mpo", "--directory", str(plan.directory), "--seeds", "1", "--rates", "1e-5"]
    command += ["--variants", "without quality", "--questions", "6", "--page", str(tmp_path / "mpo.md")]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--json"])
    assert not ended.value.code
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["n"] == 6 and report["seeds"] == 1 and report["rate"] == 1e-5
    assert set(report["after"]) == {"without quality"}
    assert (tmp_path / "mpo.png").stat().st_size > 1000
    assert "| without quality |" in (tmp_path / "mpo.md").read_text()
    assert (seed_folder(plan, 1) / "without-quality-1e-05" / "model" / "model.safetensors").is_file()


def test_an_unknown_variant_and_a_missing_checkpoint_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for arguments, reason in (
        (["--variants", "without beta"], "no variant without beta: choose from all terms"),
        (["--policy", str(tmp_path)], "there is no checkpoint in"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["train", "nano-mpo", "--directory", str(tmp_path), *arguments])
        assert ended.value.code == 1
        assert reason in " ".join(capsys.readouterr().err.split())
