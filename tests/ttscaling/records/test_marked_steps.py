"""Records of VisualProcessBench."""

from typing import Any

import pytest

from ttscaling.records.bad_records import RecordError
from ttscaling.records.marked_steps import marked_json, parse_marked


def record(**fields: Any) -> dict[str, Any]:
    return {
        "image": ["a.png"],
        "question": "1+1?",
        "answer": "2",
        "response": {"steps": ["1+1=3", "So", "3"], "process_correctness": [-1, 0, 1]},
        "policy_model": "QvQ",
        "data_source": "MMMU",
        **fields,
    }


def test_steps_and_their_marks() -> None:
    parsed = parse_marked(record())
    assert parsed.steps == ("1+1=3", "So", "3")
    assert parsed.marks == (-1, 0, 1)
    assert (parsed.policy_model, parsed.data_source) == ("QvQ", "MMMU")


@pytest.mark.parametrize("data", [record(), record(image=[]), record(image=["a.png", "b.png"], id=4)])
def test_written_as_read(data: dict[str, Any]) -> None:
    assert marked_json(parse_marked(data)) == data


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (None, "'response' must be an object"),
        ({"steps": ["a"], "process_correctness": [1, 1]}, "1 steps have 2 marks"),
        ({"steps": ["a"], "process_correctness": [2]}, "marked 2"),
        ({"steps": ["a"], "process_correctness": [True]}, "marked True"),
        ({"steps": [1], "process_correctness": [1]}, "isn't a text"),
        ({"steps": [], "process_correctness": []}, "'steps' is missing, empty"),
    ],
)
def test_the_error_names_what_is_wrong(response: Any, problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        parse_marked(record(response=response))
