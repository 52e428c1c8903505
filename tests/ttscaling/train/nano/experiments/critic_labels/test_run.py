"""Test the critic ablation: its bench, its figures for known scores, its page and its messages."""

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
from ttscaling.train.nano.stages.ranking import AnsweredQuestion

QUESTION = SheetQuestion(Sheet(((3, 7, 4), (9, 8, 2), (0, 5, 6))), "row sum", (1,))
RIGHT = "Row 1: 3 7 4\n\n3+7=10\n\n10+4=14\n\nFinal answer: 14"
WRONG = "Row 1: 3 7 4\n\n3+7=11\n\n11+4=15\n\nFinal answer: 15"
IMAGE = Image.new("RGB", (84, 84), "white")


def test_a_step_is_right_if_it_equals_the_step_of_the_written_solution_at_the_same_index() -> None:
    assert mark_steps(QUESTION, RIGHT.split("\n\n")) == (1, 1, 1, 1)
    assert mark_steps(QUESTION, WRONG.split("\n\n")) == (
        1,
        -1,
        -1,
        -1,
    )  # 11+4=15 is a right sum of wrong numbers
    assert mark_steps(QUESTION, ("Row 1: 3 7 4", "10+4=14")) == (1, -1)
    assert mark_steps(QUESTION, (*RIGHT.split("\n\n"), "Final answer: 14")) == (1, 1, 1, 1, -1)


def test_the_bench_is_a_file_of_the_published_format_with_images(tmp_path: Path) -> None:
    path = write_process_bench(tmp_path, [AnsweredQuestion(QUESTION, IMAGE, (RIGHT, RIGHT, WRONG))])
    (record,) = read_records(path, parse_marked, BadRecords(allowed=0))
    assert (record.question, record.answer) == ("What is the sum of row 1?", "14")
    assert (record.steps, record.marks) == (tuple(WRONG.split("\n\n")), (1, -1, -1, -1))
    assert Image.open(tmp_path / record.images[0]).size == (84, 84)


def reading(right: float, wrong: tuple[float, ...], *, scheme: Scheme = BY_VALUE) -> Reading:
    """Return the scores for forty questions, each with its last candidate right, and for a fixed bench."""
    candidates = [tuple([wrong] * 7 + [(right,) * len(wrong)])] * 40
    return Reading(
        contender=Contender(Path("critic"), scheme),
        candidates=candidates,
        solutions=[((0.9, 0.8, 0.3, 0.2), (1, 1, -1, -1)), ((0.9, 0.1), (1, 1))] * 20,
        threshold=0.5,
    )


@pytest.fixture
def report() -> dict[str, Any]:
    questions = [AnsweredQuestion(QUESTION, IMAGE, (*[WRONG] * 7, RIGHT))] * 40
    readings = {
        "value": reading(0.7, (0.9, 0.9, 0.1)),  # the mean of a wrong one is .63 < .7, but its max is .9 > .7
        "outcome": reading(0.2, (0.6,), scheme=BY_OUTCOME),
    }
    return summary(questions, readings, seed=1) | {"updates": 3000}


def test_figures_follow_from_the_scores(report: dict[str, Any]) -> None:
    assert report["baselines"]["greedy"]["mean"] == report["baselines"]["majority@8"]["mean"] == 0
    assert report["baselines"]["pass@1"]["mean"] == pytest.approx(1 / 7)
    value, outcome = report["critics"]["value"], report["critics"]["outcome"]
    best_of_8 = {how: figures["mean"] for how, figures in value["best_of_8"].items()}
    assert best_of_8 == {"mean": 1, "min": 1, "max": 0, "last": 1, "product": 1}
    assert {figures["mean"] for figures in outcome["best_of_8"].values()} == {0}
    assert value["over_majority"]["mean"] == pytest.approx({"mean": 1, "low": 1, "high": 1})
    assert outcome["value_over_this"]["mean"] == 1
    # Four of the six steps are right. Three of them are called right, and three steps are called wrong.
    bench = value["process_bench"]
    assert (bench["solutions"], bench["steps"]) == (40, 120)
    assert bench["right"]["mean"] == pytest.approx(6 / 7)
    assert bench["wrong"]["mean"] == pytest.approx(4 / 5)
    assert bench["macro"]["mean"] == pytest.approx((6 / 7 + 4 / 5) / 2)
    assert bench["macro"]["low"] < bench["macro"]["mean"] < bench["macro"]["high"]


def test_the_page_shows_the_figures_and_a_plot(report: dict[str, Any], tmp_path: Path) -> None:
    write_report(report, tmp_path / "page.md", command="internvl3 train nano-critics")
    page = (tmp_path / "page.md").read_text()
    assert "| outcome | 0.0 (0.0 to 0.0) |" in page
    assert "| value | +100.0 (+100.0 to +100.0) |" in page
    assert "aggregation, as bars](page.png)" in page
    assert (tmp_path / "page.png").stat().st_size > 1000
    assert (tmp_path / "page.json").exists()


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["nano-critics", "--directory", str(tmp_path)])
    assert result.exit_code == 1
    message = " ".join(result.output.split())
    assert "lacks policy, verifier, critic, orm" in message
    assert "internvl3 train nano --resume" in message


@pytest.mark.parametrize("labels", ["outcome", "value,values"])
def test_unknown_labels_and_labels_without_value_are_refused(labels: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["nano-critics", "--directory", str(tmp_path), "--labels", labels])
    assert result.exit_code == 1
    message = " ".join(result.output.split())
    assert f"--labels can't be {labels}: choose from value, advantage, early-stop, outcome" in message
