"""Records of MMPR: questions with a preferred and a rejected response.

Each line is `{"image"?, "question", "chosen", "rejected", "answer_gt"?, ...}`. Source: the MMPR data sets and
OpenGVLab/InternVL, `internvl_chat/internvl/train/internvl_chat_mpo.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .bad_records import RecordError
from .fields import media_fields, media_json, other_fields, text_field


@dataclass(frozen=True, kw_only=True)
class PairRecord:
    """A question with a better and a worse response; `extra` holds all other keys.

    `answer` is the known answer as it is in the file, usually a string.
    """

    question: str
    chosen: str
    rejected: str
    images: tuple[str, ...] = ()
    video: str | None = None
    answer: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def parse_pair(data: Mapping[str, Any]) -> PairRecord:
    """Return the record of a JSON object.

    Raises:
        RecordError: a text is missing, or the two responses are the same.
    """
    question, chosen, rejected = (text_field(data, key) for key in ("question", "chosen", "rejected"))
    if chosen == rejected:
        raise RecordError(
            "'chosen' and 'rejected' are the same text: remove the pair, because it prefers nothing"
        )
    images, video = media_fields(data)
    return PairRecord(
        question=question,
        chosen=chosen,
        rejected=rejected,
        images=images,
        video=video,
        answer=data.get("answer_gt"),
        extra=other_fields(data, ("image", "video", "question", "chosen", "rejected", "answer_gt")),
    )


def pair_json(record: PairRecord) -> dict[str, Any]:
    """Return the JSON object of a record: the inverse of `parse_pair`."""
    answer = {} if record.answer is None else {"answer_gt": record.answer}
    return {
        **media_json(record.images, record.video),
        "question": record.question,
        "chosen": record.chosen,
        "rejected": record.rejected,
        **answer,
        **record.extra,
    }
