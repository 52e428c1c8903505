"""Data sets of rollouts are what `internvl3 train check` accepts and the readers return."""

from pathlib import Path

import pytest

from tests.ttscaling.train.rollout_policy import PIXEL
from ttscaling.records.bad_records import BadRecords
from ttscaling.records.checking import check_data_set, parser_of
from ttscaling.records.jsonl import read_records
from ttscaling.records.judged_steps import JudgedStep, parse_judged
from ttscaling.records.meta import read_meta
from ttscaling.records.pairs import PairRecord, parse_pair
from ttscaling.records.questions import Question
from ttscaling.train.rollouts.data_sets import judged_solution, write_data
from ttscaling.train.rollouts.pairing import Solution
from ttscaling.train.rollouts.rollout import PrefixValue, Rollout, RolloutPlan

PLAN = RolloutPlan(solutions=4, continuations=16, without_image=1, max_steps=None, seed=0)
QUESTION = Question(text="<image>\nWhich?", answer="7", images=("a.png",))
RIGHT = Solution(text="a\n\nb\n\nFinal answer: 7", answer="7", right=True)
WRONG = Solution(text="a\n\nc\n\nFinal answer: 8", answer="8", right=False)
UNSTATED = Solution(text="a\n\nand so on", answer=None, right=False)


def rollout(*solutions: Solution, question: Question = QUESTION, bad: str | None = None) -> Rollout:
    values = {"a": PrefixValue(9, 16), "a\n\nb": PrefixValue(16, 16), "a\n\nc": PrefixValue(0, 16)}
    return Rollout(question, solutions, values, {RIGHT.text: "a and so I guess"}, bad)


def test_steps_have_their_values_and_the_last_its_verdict() -> None:
    record = judged_solution(rollout(WRONG), WRONG, None)
    assert record.steps == (
        JudgedStep("a", 9 / 16, 9, 16),
        JudgedStep("c", 0.0, 0, 16),
        JudgedStep("Final answer: 8", 0.0, 0, 1),
    )
    assert judged_solution(rollout(RIGHT), RIGHT, None).steps[-1] == JudgedStep("Final answer: 7", 1.0, 1, 1)
    assert record.extra == {"answer": "7", "response": WRONG.text}


def test_merged_steps_have_the_value_of_their_last() -> None:
    steps = judged_solution(rollout(RIGHT), RIGHT, 2).steps
    assert [(step.text, step.score) for step in steps] == [("a\n\nb", 1.0), ("Final answer: 7", 1.0)]


def test_a_video_stays_with_its_solution(tmp_path: Path) -> None:
    question = Question(text="<video>\nWhich?", answer="7", video="a.mp4")
    write_data(tmp_path, tmp_path, [rollout(RIGHT, question=question)], PLAN)
    (record,) = read_records(tmp_path / "judged.jsonl", parse_judged, BadRecords())
    assert (record.video, record.images) == ("a.mp4", ())


def test_data_sets_are_written_for_the_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, folder = tmp_path / "media", tmp_path / "out"
    root.mkdir()
    (root / "a.png").write_bytes(PIXEL)
    solutions = [RIGHT, WRONG, WRONG, UNSTATED]
    counts = write_data(folder, root, [rollout(*solutions), rollout(RIGHT, bad="refused")], PLAN)
    assert counts == {"judged": 3, "correctness": 1, "format": 1, "dropout": 1}
    monkeypatch.chdir(root)  # The paths hold in every working folder.
    for meta, form in (("critic.json", "judged"), ("pairs.json", "pairs")):
        for data_set in read_meta(folder / meta, base=Path()):
            checked = check_data_set(data_set, parser_of(form))
            assert checked.passed, checked.summary()
            assert checked.media == checked.bad_records.good == counts[data_set.name]
    (without_image,) = read_records(folder / "dropout.jsonl", parse_pair, BadRecords())
    assert without_image == PairRecord(
        question=QUESTION.text,
        chosen=RIGHT.text,
        rejected="a and so I guess",
        images=("a.png",),
        answer="7",
    )


def test_nothing_is_named_that_holds_nothing(tmp_path: Path) -> None:
    plan = RolloutPlan(solutions=1, continuations=0, without_image=0, max_steps=None, seed=0)
    counts = write_data(tmp_path, tmp_path, [Rollout(QUESTION, (RIGHT,))], plan)
    assert set(counts.values()) == {0}
    assert not (tmp_path / "critic.json").exists()
    assert not (tmp_path / "pairs.json").exists()
