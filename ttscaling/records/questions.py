"""Questions with known answers, one a line: `{"image"? | "video"?, "question", "answer", "mode"?, ...}`.

The published pipeline reads `image`, `question`, `answer`. InternVL's conversations are accepted too: the
answer is the one that the last `gpt` turn states, the question what was said before. Several turns become one
question, each labelled with its role, as the critic is shown them (`ttscaling.critic_prompt`); a system turn
is left out.
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
    """A question, its media, and the answer that is right; `mode` says how answers are compared with it."""

    text: str
    answer: str
    images: tuple[str, ...] = ()
    video: str | None = None
    mode: Mode = "exact"


def parse_question(data: Mapping[str, Any]) -> Question:
    """A question from its JSON object.

    Raises:
        RecordError: it isn't of either form, or states no answer.
    """
    mode = optional_text(data, "mode") or "exact"
    if mode not in get_args(Mode):
        raise RecordError(f"'mode' is {mode!r}: use one of {', '.join(get_args(Mode))}")
    text, answer = _of_chat(data) if "conversations" in data else _of_fields(data)
    images, video = media_fields(data)
    return Question(text=text, answer=answer, images=images, video=video, mode=mode)  # type: ignore[arg-type]


def _of_fields(data: Mapping[str, Any]) -> tuple[str, str]:
    """Published files have numbers among the answers."""
    answer = data.get("answer")
    number = isinstance(answer, int | float) and not isinstance(answer, bool)
    return text_field(data, "question"), str(answer) if number else text_field(data, "answer")


def _of_chat(data: Mapping[str, Any]) -> tuple[str, str]:
    turns = [turn for turn in parse_chat(data).turns if turn.role != "system"]
    if [turn.role for turn in turns[-2:]] != ["user", "assistant"]:
        raise RecordError("the conversation doesn't end with a 'human' turn and its 'gpt' turn: end it so")
    answer = final_answer(turns[-1].text)
    if answer is None:
        raise RecordError("the last 'gpt' turn states no answer: end it with 'Final answer: ..' in a line")
    asked = turns[:-1]
    if len(asked) == 1:
        return asked[0].text, answer
    return "\n\n".join(f"{turn.role.capitalize()}: {turn.text}" for turn in asked), answer
