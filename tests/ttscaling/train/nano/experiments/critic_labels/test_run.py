"""Figures of the ablation from readings that are known, and the bench that its F1 stands on."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from ttscaling.nano_tasks.problems import SheetQuestion
from ttscaling.nano_tasks.sheets import Sheet
from ttscaling.records.bad_records import BadRecords
from ttscaling.records.jsonl import read_records
from ttscaling.records.marked_steps import parse_marked
from ttscaling.train.cli import app
from ttscaling.train.nano.experiments.critic_labels.figures import summary
from ttscaling.train.nano.experiments.critic_labels.page import write_report
from ttscaling.train.nano.experiments.critic_labels.process_bench import mark_steps, write_process_bench
from ttscaling.train.nano.experiments.critic_labels.readings import Contender, Reading
from ttscaling.train.nano.stages.labelling import BY_OUTCOME, BY_VALUE, Scheme
from ttscaling.train.nano.stages.ranking import Ranked

TASK = SheetQuestion(Sheet(((3, 7, 4), (9, 8, 2), (0, 5, 6))), "row sum", (1,))
RIGHT = "Row 1: 3 7 4\n\n3+7=10\n\n10+4=14\n\nFinal answer: 14"
WRONG = "Row 1: 3 7 4\n\n3+7=11\n\n11+4=15\n\nFinal answer: 15"
IMAGE = Image.new("RGB", (84, 84), "white")


def test_a_step_is_right_if_it_is_the_written_solutions_at_its_place() -> None:
    assert mark_steps(TASK, RIGHT.split("\n\n")) == (1, 1, 1, 1)
    assert mark_steps(TASK, WRONG.split("\n\n")) == (1, -1, -1, -1)  # 11+4=15 is a right sum of wrong numbers
    assert mark_steps(TASK, ("Row 1: 3 7 4", "10+4=14")) == (1, -1)
    assert mark_steps(TASK, (*RIGHT.split("\n\n"), "Final answer: 14")) == (1, 1, 1, 1, -1)


def test_the_bench_is_a_file_of_the_published_format_with_its_images(tmp_path: Path) -> None:
    path = write_process_bench(tmp_path, [Ranked(TASK, IMAGE, (RIGHT, RIGHT, WRONG))])
    (record,) = read_records(path, parse_marked, BadRecords(allowed=0))
    assert (record.question, record.answer) == ("What is the sum of row 1?", "14")
    assert (record.steps, record.marks) == (tuple(WRONG.split("\n\n")), (1, -1, -1, -1))
    assert Image.open(tmp_path / record.images[0]).size == (84, 84)


def reading(right: float, wrong: tuple[float, ...], *, scheme: Scheme = BY_VALUE) -> Reading:
    """Of forty questions with one right candidate in eight; the steps of a bench are judged alike."""
    candidates = [tuple([wrong] * 7 + [(right,) * len(wrong)])] * 40
    return Reading(
        contender=Contender(Path("critic"), scheme),
        candidates=candidates,
        solutions=[((0.9, 0.8, 0.3, 0.2), (1, 1, -1, -1)), ((0.9, 0.1), (1, 1))] * 20,
        threshold=0.5,
    )


@pytest.fixture
def report() -> dict[str, Any]:
    questions = [Ranked(TASK, IMAGE, (*[WRONG] * 7, RIGHT))] * 40
    readings = {
        "value": reading(0.7, (0.9, 0.9, 0.1)),  # its mean and max mislead: .63 < .7, but .9 > .7
        "outcome": reading(0.2, (0.6,), scheme=BY_OUTCOME),
    }
    return summary(questions, readings, seed=1) | {"updates": 3000}


def test_figures_follow_from_the_scores(report: dict[str, Any]) -> None:
    assert report["baselines"]["greedy"]["mean"] == report["baselines"]["majority@8"]["mean"] == 0
    assert report["baselines"]["pass@1"]["mean"] == pytest.approx(1 / 7)
    value, outcome = report["critics"]["value"], report["critics"]["outcome"]
    chosen = {how: figures["mean"] for how, figures in value["best_of_8"].items()}
    assert chosen == {"mean": 1, "min": 1, "max": 0, "last": 1, "product": 1}
    assert {figures["mean"] for figures in outcome["best_of_8"].values()} == {0}
    assert value["over_majority"]["mean"] == pytest.approx({"mean": 1, "low": 1, "high": 1})
    assert outcome["value_over_this"]["mean"] == 1
    # Of six steps four are right: three are called so, and no other. Of three called wrong, two are.
    bench = value["process_bench"]
    assert (bench["solutions"], bench["steps"]) == (40, 120)
    assert bench["right"]["mean"] == pytest.approx(6 / 7)
    assert bench["wrong"]["mean"] == pytest.approx(4 / 5)
    assert bench["macro"]["mean"] == pytest.approx((6 / 7 + 4 / 5) / 2)
    assert bench["macro"]["low"] < bench["macro"]["mean"] < bench["macro"]["high"]


def test_the_page_shows_them_beside_a_plot(report: dict[str, Any], tmp_path: Path) -> None:
    write_report(report, tmp_path / "page.md", command="internvl3 train nano-critics")
    page = (tmp_path / "page.md").read_text()
    assert "| outcome | 0.0 (0.0 to 0.0) |" in page
    assert "| value | +100.0 (+100.0 to +100.0) |" in page
    assert "![the same as bars](page.png)" in page
    assert (tmp_path / "page.png").stat().st_size > 1000
    assert (tmp_path / "page.json").exists()


def test_what_the_critics_grow_from_must_be_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["nano-critics", "--directory", str(tmp_path)])
    assert result.exit_code == 1
    assert "lacks policy, verifier, critic, orm" in result.output
    assert "internvl3 train nano --resume" in result.output


@pytest.mark.parametrize("labels", ["outcome", "value,values"])
def test_labels_are_known_and_value_is_among_them(labels: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["nano-critics", "--directory", str(tmp_path), "--labels", labels])
    assert result.exit_code == 1
    assert "--labels are value, advantage, early-stop, outcome" in result.output
