"""Preference pairs in the form of MMPR."""

from typing import Any

import pytest

from ttscaling.records.bad_records import RecordError
from ttscaling.records.pairs import PairRecord, pair_json, parse_pair


def record(**fields: Any) -> dict[str, Any]:
    return {"question": "1+1?", "chosen": "2", "rejected": "3", **fields}


def test_named_fields_and_extra_fields() -> None:
    parsed = parse_pair(record(image="a.png", answer_gt="2", meta={"source": "x"}))
    assert parsed == PairRecord(
        question="1+1?",
        chosen="2",
        rejected="3",
        images=("a.png",),
        answer="2",
        extra={"meta": {"source": "x"}},
    )


@pytest.mark.parametrize(
    "data",
    [
        record(image="a.png", answer_gt="2", chosen_meta=[1]),
        record(image=["a.png", "b.png"], answer_gt=["2", "two"]),
        record(video="a.mp4"),
        record(),
    ],
)
def test_written_as_read(data: dict[str, Any]) -> None:
    assert pair_json(parse_pair(data)) == data


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (record(question=" "), "'question' is missing or blank"),
        ({"question": "1+1?", "chosen": "2"}, "'rejected' is missing"),
        (record(chosen=["2"]), "'chosen' is a list"),
        (record(rejected="2"), "the same text"),
        (record(image={"path": "a.png"}), "'image' is neither"),
    ],
)
def test_the_error_names_what_is_wrong(data: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        parse_pair(data)
