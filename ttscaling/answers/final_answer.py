"""Find the final answer that a solution states, and count votes on final answers.

The formats are those that InternVL's published pipeline asks for (reasoning_data_pipeline, prompts `en`,
`zh`, `en_v2`; evaluation prompts of VLMEvalKit): `Final answer: ..`, `答案: ..`, `Answer: ..`, `\\boxed{..}`,
letters. Every function takes time linear in the length of its texts, because the server's event loop calls
them on what a model wrote.
"""

import re
from collections.abc import Sequence

from .normal_form import normal_form

_TRIGGER = re.compile(r"(?:final answer|答案|^[ \t*]*answer)[ \t*]*[:：]", re.IGNORECASE | re.MULTILINE)
_STATEMENT = re.compile(
    r"(?:\b(?:answer|option|choice)[ \t*]+is\b|答案[是为选])[ \t*:：]*(?P<stated>\S[^\n]*)", re.IGNORECASE
)
_SENTENCE = re.compile(r"[.。](?:\s|$)")
_BOX = re.compile(r"\\boxed\s?\{")


def final_answer(text: str) -> str | None:
    """Return the final answer of a solution, or None if it states none.

    After the last trigger (such as `Final answer:`) it is the last box, or without a box the first line of
    text. Without a trigger it is the last box, or without a box what follows the last "the answer is" up to
    the end of the sentence. Otherwise a text of one line is the answer, as in the reply to "answer with the
    letter".
    """
    triggers = list(_TRIGGER.finditer(text))
    if triggers:
        ending = text[triggers[-1].end() :].strip().strip("*").strip()
        answer = _last_box(ending) or ending.partition("\n")[0].strip(" *")
        if answer:
            return answer
    box = _last_box(text)
    if box or triggers:
        return box
    if statements := list(_STATEMENT.finditer(text)):
        return _SENTENCE.split(statements[-1]["stated"], maxsplit=1)[0].strip(" *") or None
    line = text.strip()
    return line if line and "\n" not in line else None


def same_answer(left: str, right: str) -> bool:
    """Return whether two final answers have the same `normal_form`, which is an equivalence."""
    return normal_form(left) == normal_form(right)


def group_equal_answers(answers: Sequence[str | None]) -> list[list[int]]:
    """Return groups of indices whose answers are the same, all in order; None (no answer) is in no group."""
    groups: dict[object, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer is not None:
            groups.setdefault(normal_form(answer), []).append(index)
    return list(groups.values())


def majority(answers: Sequence[str | None]) -> int:
    """Return the index of the first answer in the largest group of same answers.

    A tie goes to the earlier group. None (no answer) has no vote; if there is no vote, the index is 0. Raises
    ValueError for an empty sequence.
    """
    if not answers:
        raise ValueError("there are no answers to vote on: give at least one")
    groups = group_equal_answers(answers)
    return max(groups, key=len)[0] if groups else 0


def _last_box(text: str) -> str | None:
    """Return the content of the last `\\boxed{..}` whose braces balance."""
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
