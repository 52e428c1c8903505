"""Records of questions with known answers.

Each line is `{"image"? | "video"?, "question", "answer", "mode"?, ...}`; the published pipeline reads
`image`, `question` and `answer`. InternVL's conversations are accepted too. Then the answer is the final
answer of the last `gpt` turn, and the question is what comes before. Several turns become one question in
which each turn is labelled with its role, as in the critic's prompt (`ttscaling.critic_prompt`). A system
turn is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ttscaling.answers.final_answer import final_answer
from ttscaling.answers.grading import Mode

from .bad_records import RecordError
from .chats import parse_chat
from .fields import media_fields, optional_text, text_field


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, its media, and the right answer; `mode` says how answers are compared with it."""

    text: str
    answer: str
    images: tuple[str, ...] = ()
    video: str | None = None
    mode: Mode = "exact"


def parse_question(data: Mapping[str, Any]) -> Question:
    """Return the question of a JSON object.

    Raises:
        RecordError: the object has neither form, or states no answer.
    """
    mode = optional_text(data, "mode") or "exact"
    if mode not in get_args(Mode):
        raise RecordError(f"'mode' is {mode!r}: use one of {', '.join(get_args(Mode))}")
    text, answer = _of_chat(data) if "conversations" in data else _of_fields(data)
    images, video = media_fields(data)
    return Question(text=text, answer=answer, images=images, video=video, mode=mode)  # type: ignore[arg-type]


def _of_fields(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return question and answer. Some published files have numbers as answers."""
    answer = data.get("answer")
    number = isinstance(answer, int | float) and not isinstance(answer, bool)
    return text_field(data, "question"), str(answer) if number else text_field(data, "answer")


def _of_chat(data: Mapping[str, Any]) -> tuple[str, str]:
    turns = [turn for turn in parse_chat(data).turns if turn.role != "system"]
    if [turn.role for turn in turns[-2:]] != ["user", "assistant"]:
        raise RecordError("the conversation doesn't end with a 'human' turn and a 'gpt' turn: end it so")
    answer = final_answer(turns[-1].text)
    if answer is None:
        raise RecordError("the last 'gpt' turn states no answer: end it with a line 'Final answer: ..'")
    question = turns[:-1]
    if len(question) == 1:
        return question[0].text, answer
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.text}" for turn in question), answer
