"""Records of VisualProcessBench: solutions whose steps people marked right, wrong or neutral.

Each line is `{"image": [..], "question", "answer", "response": {"steps", "process_correctness"},
"policy_model", "data_source"}`. Source: the data card of VisualProcessBench (arXiv 2503.10291, section 4).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from .bad_records import RecordError
from .fields import image_field, list_field, optional_text, other_fields, text_field

Mark = Literal[1, 0, -1]
"""1 is right, 0 is neutral (the benchmark's score leaves it out), -1 is wrong."""

_KEYS = ("image", "question", "answer", "response", "policy_model", "data_source")


@dataclass(frozen=True, kw_only=True)
class MarkedRecord:
    """A solution with a mark for each step."""

    question: str
    steps: tuple[str, ...]
    marks: tuple[Mark, ...]
    images: tuple[str, ...] = ()
    answer: Any = None
    policy_model: str | None = None
    data_source: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def parse_marked(data: Mapping[str, Any]) -> MarkedRecord:
    """Return the record of a JSON object. Raises RecordError if it doesn't have the published form."""
    response = data.get("response")
    if not isinstance(response, Mapping):
        raise RecordError(
            '\'response\' must be an object: write {"steps": [..], "process_correctness": [..]}'
        )
    steps, marks = list_field(response, "steps"), list_field(response, "process_correctness")
    if not all(isinstance(step, str) for step in steps):
        raise RecordError("a step isn't a text: write 'steps' as a list of texts")
    if len(steps) != len(marks):
        raise RecordError(f"{len(steps)} steps have {len(marks)} marks: give each step one mark")
    wrong = [mark for mark in marks if isinstance(mark, bool) or mark not in get_args(Mark)]
    if wrong:
        raise RecordError(f"a step is marked {wrong[0]!r}: use 1 (right), 0 (neutral) or -1 (wrong)")
    return MarkedRecord(
        question=text_field(data, "question"),
        steps=tuple(steps),
        marks=tuple(marks),
        images=image_field(data),
        answer=data.get("answer"),
        policy_model=optional_text(data, "policy_model"),
        data_source=optional_text(data, "data_source"),
        extra=other_fields(data, _KEYS),
    )


def marked_json(record: MarkedRecord) -> dict[str, Any]:
    """Return the JSON object of a record: the inverse of `parse_marked`.

    `image` is always a list, as published.
    """
    return {
        "image": list(record.images),
        "question": record.question,
        "answer": record.answer,
        "response": {"steps": list(record.steps), "process_correctness": list(record.marks)},
        "policy_model": record.policy_model,
        "data_source": record.data_source,
        **record.extra,
    }
