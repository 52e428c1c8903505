"""nano's questions and exercises are files that the commands read, about training drawings alone."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ttscaling.nano_tasks.problems import heldout, problems
from ttscaling.records.bad_records import BadRecords
from ttscaling.records.jsonl import read_records
from ttscaling.records.judged_steps import parse_judged
from ttscaling.records.meta import read_meta
from ttscaling.records.questions import parse_question
from ttscaling.train.cli import app
from ttscaling.train.nano.critic_data import write_exercises, write_questions


def test_questions_show_training_drawings(tmp_path: Path) -> None:
    file = write_questions(tmp_path, 6, seed=3)
    questions = list(read_records(file, parse_question, BadRecords(allowed=0)))
    for question, problem in zip(questions, problems("train", 6, 3), strict=True):
        assert (question.text, question.answer) == (problem.question, problem.answer)
        with Image.open(tmp_path / question.images[0]) as picture:
            np.testing.assert_array_equal(np.asarray(picture), np.asarray(problem.image))
    assert [question.text for question in questions] != [problem.question for problem in heldout(6, 3)]


def test_exercises_are_judged_records_beside_other_data(tmp_path: Path) -> None:
    first = write_exercises(tmp_path / "first", 12, seed=1)
    both = write_exercises(tmp_path / "second", 12, seed=2, beside=[first])
    data_sets = read_meta(both, base=Path())
    assert [data_set.annotation.parent.name for data_set in data_sets] == ["first", "second"]
    records = list(read_records(data_sets[1].annotation, parse_judged, BadRecords(allowed=0)))
    assert len(records) == 12
    assert {step.score for record in records for step in record.steps} == {0.0, 1.0}
    assert all((data_sets[1].root / image).exists() for record in records for image in record.images)
    assert any(record.images for record in records) and not all(record.images for record in records)


def test_the_command_names_its_files(tmp_path: Path) -> None:
    arguments = ["nano-data", "--output", str(tmp_path), "--questions", "2", "--exercises", "3", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    files = json.loads(result.stdout.splitlines()[-1])
    assert Path(files["questions"]).exists() and Path(files["data"]).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "add --questions or --exercises"),
        (["--exercises", "2", "--with", "/nowhere/critic.json"], "/nowhere/critic.json"),
    ],
)
def test_a_mistake_is_named(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, ["nano-data", "--output", str(tmp_path), *arguments]
    )
    assert result.exit_code == 1
    assert message in result.output and "Traceback" not in result.output


def test_beginnings_are_readings_of_one_two_or_three_digits(tmp_path: Path) -> None:
    write_exercises(tmp_path, 60, seed=4, shares={"beginnings": 1.0})
    file = tmp_path / "exercises.jsonl"
    steps = [
        step for record in read_records(file, parse_judged, BadRecords(allowed=0)) for step in record.steps
    ]
    lengths = Counter(len(step.text.split(": ")[1].split()) for step in steps)
    assert set(lengths) == {1, 2, 3}
    for length in lengths:
        scores = [step.score for step in steps if len(step.text.split(": ")[1].split()) == length]
        assert 0.3 < np.mean(scores) < 0.7, "right and wrong statements balance at each length"


@pytest.mark.parametrize("shares", ["readings", "readings=a", "sums=1", "readings=-1,facts=2", "facts=0"])
def test_shares_that_are_none_are_named(shares: str, tmp_path: Path) -> None:
    arguments = ["nano-data", "--output", str(tmp_path), "--exercises", "2", "--shares", shares]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code == 1
    assert "shares" in result.output and "Traceback" not in result.output
