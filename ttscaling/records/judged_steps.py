"""VisualPRM400K's solutions with Monte-Carlo step scores, one a line.

Source: the VisualPRM400K-Raw data sets and OpenGVLab/InternVL, `tools/reasoning_data_pipeline`:
`{"image", "question", "answer"?, "response"?, "steps_with_score": [{"step", "score", "num_mc_correct",
"num_mc_total"}, ...]}`, or `video` for `image`. The other published form, VisualPRM400K without "Raw", is
conversations whose `gpt` turns are `+` and `-`: read that with `chats`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ttscaling.steps import SEPARATOR

from .bad_records import RecordError
from .fields import list_field, media_fields, media_json, other_fields, text_field


@dataclass(frozen=True)
class JudgedStep:
    """One step and the share of continuations from there that reach the right answer.

    `correct` of `total` continuations did; None where the file doesn't say.
    """

    text: str
    score: float
    correct: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class JudgedRecord:
    """A solution judged step by step; `extra` holds the other keys, `answer` and `response` among them."""

    question: str
    steps: tuple[JudgedStep, ...]
    images: tuple[str, ...] = ()
    video: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def solution(self) -> str:
        """The steps as one text, as the published outcome-reward data joins them."""
        return SEPARATOR.join(step.text for step in self.steps).strip()


def parse_judged(data: Mapping[str, Any]) -> JudgedRecord:
    """A record from its JSON object. Raises RecordError."""
    images, video = media_fields(data)
    return JudgedRecord(
        question=text_field(data, "question"),
        steps=tuple(_step(entry) for entry in list_field(data, "steps_with_score")),
        images=images,
        video=video,
        extra=other_fields(data, ("image", "video", "question", "steps_with_score")),
    )


def judged_json(record: JudgedRecord) -> dict[str, Any]:
    """The inverse of `parse_judged`."""
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
        raise RecordError(f"a step's score is {score}: it is a share of continuations, 0 to 1")
    return JudgedStep(text, float(score), _count(entry, "num_mc_correct"), _count(entry, "num_mc_total"))


def _count(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise RecordError(f"a step's {key!r} is {value!r}: make it a count")
    return value
