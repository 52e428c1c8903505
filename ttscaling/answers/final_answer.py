"""The final answer that a solution states, and votes on final answers.

Formats as InternVL's published pipeline asks for them (reasoning_data_pipeline, prompts `en`, `zh`, `en_v2`;
evaluation prompts of VLMEvalKit): `Final answer: ..`, `答案: ..`, `Answer: ..`, `\\boxed{..}`, letters.
Everything here is linear in the text's length: it reads what a model wrote, on the server's event loop.
"""

import re
from collections.abc import Sequence

from .normal_form import normal_form

_TRIGGER = re.compile(r"(?:final answer|答案|^[ \t*]*answer)[ \t*]*[:：]", re.IGNORECASE | re.MULTILINE)
_SAID = re.compile(
    r"(?:\b(?:answer|option|choice)[ \t*]+is\b|答案[是为选])[ \t*:：]*(?P<stated>\S[^\n]*)", re.IGNORECASE
)
_SENTENCE = re.compile(r"[.。](?:\s|$)")
_BOX = re.compile(r"\\boxed\s?\{")


def final_answer(text: str) -> str | None:
    """What the solution gives as its answer, or None if it states none.

    After the last trigger: a box if there is one, else the rest of the line. Without a trigger: the last box,
    else what the last "the answer is .." says to the end of its sentence; else a text of one line is the
    answer itself (the reply to "answer with the letter").
    """
    triggers = list(_TRIGGER.finditer(text))
    if triggers:
        rest = text[triggers[-1].end() :].strip().strip("*").strip()
        stated = _last_box(rest) or rest.partition("\n")[0].strip(" *")
        if stated:
            return stated
    box = _last_box(text)
    if box or triggers:
        return box
    if said := list(_SAID.finditer(text)):
        return _SENTENCE.split(said[-1]["stated"], maxsplit=1)[0].strip(" *") or None
    line = text.strip()
    return line if line and "\n" not in line else None


def same_answer(left: str, right: str) -> bool:
    """Whether two final answers say the same (see `normal_form`): an equivalence, so that votes can count."""
    return normal_form(left) == normal_form(right)


def group_equal_answers(answers: Sequence[str | None]) -> list[list[int]]:
    """Indices of the same answers together, all in order; None (none stated) is in no group."""
    found: dict[object, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer is not None:
            found.setdefault(normal_form(answer), []).append(index)
    return list(found.values())


def majority(answers: Sequence[str | None]) -> int:
    """Index of the earliest answer of the largest group of same answers; a tie goes to the earlier group.

    None (no answer stated) has no vote; if nobody votes, 0. Raises ValueError for an empty sequence.
    """
    if not answers:
        raise ValueError("no answers to vote on")
    voting = group_equal_answers(answers)
    return max(voting, key=len)[0] if voting else 0


def _last_box(text: str) -> str | None:
    """The inside of the last `\\boxed{..}` whose braces balance."""
    boxes = {match.end() for match in _BOX.finditer(text)}
    opened: list[int] = []
    last: tuple[int, int] | None = None
    for at, character in enumerate(text) if boxes else ():
        if character == "{":
            opened.append(at + 1)
        elif character == "}" and opened:
            start = opened.pop()
            if start in boxes and (last is None or start > last[0]):
                last = start, at
    return text[slice(*last)].strip() if last else None
