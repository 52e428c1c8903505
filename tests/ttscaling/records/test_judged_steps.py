"""Records in the raw form of VisualPRM400K."""

from typing import Any

import pytest

from ttscaling.records.bad_records import RecordError
from ttscaling.records.judged_steps import JudgedStep, judged_json, parse_judged


def record(**fields: Any) -> dict[str, Any]:
    steps = [
        {"step": "1+1=2", "score": 0.75, "num_mc_correct": 12, "num_mc_total": 16},
        {"step": "Final answer: 3", "score": 0.0, "num_mc_correct": 0, "num_mc_total": 16},
    ]
    return {"image": "a.png", "question": "1+1?", "steps_with_score": steps, **fields}


def test_steps_and_their_scores() -> None:
    parsed = parse_judged(record(answer="2", response="r", num_mc_sequences=16))
    assert parsed.steps[0] == JudgedStep("1+1=2", 0.75, 12, 16)
    assert parsed.solution == "1+1=2\n\nFinal answer: 3"
    assert parsed.extra == {"answer": "2", "response": "r", "num_mc_sequences": 16}


@pytest.mark.parametrize(
    "data",
    [
        record(answer="2"),
        record(image=["a.png", "b.png"]),
        {key: value for key, value in record(video="a.mp4").items() if key != "image"},
        {"question": "1+1?", "steps_with_score": [{"step": "2", "score": 1.0}]},
    ],
)
def test_written_as_read(data: dict[str, Any]) -> None:
    assert judged_json(parse_judged(data)) == data


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (record(steps_with_score=[]), "'steps_with_score' is missing, empty"),
        (record(steps_with_score=[{"step": "2"}]), "a step is"),
        (record(steps_with_score=[{"step": "2", "score": True}]), "a step is"),
        (record(steps_with_score=["2"]), "a step is"),
        (record(steps_with_score=[{"step": "2", "score": 12}]), "0 to 1"),
        (record(steps_with_score=[{"step": "2", "score": float("nan")}]), "0 to 1"),
        (record(steps_with_score=[{"step": "2", "score": 1, "num_mc_total": -1}]), "num_mc_total"),
    ],
)
def test_the_error_names_what_is_wrong(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        parse_judged(data)
