"""Records of VisualPRM400K-Raw: solutions with Monte-Carlo step scores.

Each line is `{"image", "question", "answer"?, "response"?, "steps_with_score": [{"step", "score",
"num_mc_correct", "num_mc_total"}, ...]}`, or has `video` instead of `image`. Source: the VisualPRM400K-Raw
data sets and OpenGVLab/InternVL, `tools/reasoning_data_pipeline`. The other published form, VisualPRM400K
without "Raw", has conversations whose `gpt` turns are `+` and `-`; `chats` reads those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ttscaling.steps import SEPARATOR

from .bad_records import RecordError
from .fields import list_field, media_fields, media_json, other_fields, text_field


@dataclass(frozen=True)
class JudgedStep:
    """One step, and the share of its continuations that reach the right answer (`score`, 0 to 1).

    `correct` of `total` continuations reach it; both are None if the file doesn't say.
    """

    text: str
    score: float
    correct: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class JudgedRecord:
    """A solution with a score for each step; `extra` holds all other keys, such as `answer`."""

    question: str
    steps: tuple[JudgedStep, ...]
    images: tuple[str, ...] = ()
    video: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def solution(self) -> str:
        """The steps as one text, joined as in the published outcome-reward data."""
        return SEPARATOR.join(step.text for step in self.steps).strip()


def parse_judged(data: Mapping[str, Any]) -> JudgedRecord:
    """Return the record of a JSON object. Raises RecordError if it doesn't have the published form."""
    images, video = media_fields(data)
    return JudgedRecord(
        question=text_field(data, "question"),
        steps=tuple(_step(entry) for entry in list_field(data, "steps_with_score")),
        images=images,
        video=video,
        extra=other_fields(data, ("image", "video", "question", "steps_with_score")),
    )


def judged_json(record: JudgedRecord) -> dict[str, Any]:
    """Return the JSON object of a record: the inverse of `parse_judged`."""
    steps = []
    for step in record.steps:
        counts = {"num_mc_correct": step.correct, "num_mc_total": step.total}
        known = {key: count for key, count in counts.items() if count is not None}
        steps.append({"step": step.text, "score": step.score, **known})
    return {
        **media_json(record.images, record.video),
        "question": record.question,
        **record.extra,
        "steps_with_score": steps,
    }


def _step(entry: Any) -> JudgedStep:
    text, score = (entry.get("step"), entry.get("score")) if isinstance(entry, Mapping) else (None, None)
    if not isinstance(text, str) or isinstance(score, bool) or not isinstance(score, int | float):
        raise RecordError(
            f'a step is {str(entry)[:80]!r}: write {{"step": text, "score": number, '
            '"num_mc_correct": count, "num_mc_total": count}'
        )
    if not 0 <= score <= 1:
        raise RecordError(f"a step's score is {score}: give the share of right continuations, 0 to 1")
    return JudgedStep(text, float(score), _count(entry, "num_mc_correct"), _count(entry, "num_mc_total"))


def _count(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise RecordError(f"a step's {key!r} is {value!r}: make it a whole number of at least 0")
    return value
