"""The final answer that a solution states, and whether two say the same.

Formats as InternVL's published pipeline asks for them (reasoning_data_pipeline, prompts `en`, `zh`, `en_v2`;
evaluation prompts of VLMEvalKit): `Final answer: ..`, `答案: ..`, `Answer: ..`, `\\boxed{..}`, letters.
Everything here is linear in the text's length: it reads what a model wrote, on the server's event loop.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

_TRIGGER = re.compile(r"(?:final answer|答案|^[ \t*]*answer)[ \t*]*[:：]", re.IGNORECASE | re.MULTILINE)
_BOX = re.compile(r"\\f?boxed\s?\{")
_TEXT = re.compile(r"\\(?:text|mathrm|mathbf)\{([^{}]*)\}")
_OPTION = re.compile(r"\(?([A-Za-z])[).:]?")
# Bounded, so that nobody can ask for the value of a number of a million digits.
_NUMBER = re.compile(
    r"([-+]?(?:[0-9]{1,3}(?:,[0-9]{3}){1,9}|[0-9]{1,30}|(?=\.[0-9]))(?:\.[0-9]{0,30})?)(?:/([0-9]{1,30}))?"
)


def final_answer(text: str) -> str | None:
    """What the solution gives as its answer, or None if it states none.

    After the last trigger: a box if there is one, else the rest of the line. Without a trigger: the last box,
    else a text of one line is the answer itself (the reply to "answer with the letter").
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
    line = text.strip()
    return line if line and "\n" not in line else None


def same_answer(left: str, right: str) -> bool:
    """Whether two final answers agree: an equivalence, so that votes can be counted.

    Case, outer dollar signs, emphasis, `\\text{..}`, a closing full stop and brackets round an option's
    letter don't matter; numbers agree by value (1,234.0 is 1234, 1/2 is .5).
    """
    return _key(left) == _key(right)


def majority(answers: Sequence[str | None]) -> int:
    """Index of the earliest answer of the largest group of same answers; a tie goes to the earlier group.

    None (no answer stated) has no vote; if nobody votes, 0. Raises ValueError for an empty sequence.
    """
    if not answers:
        raise ValueError("no answers to vote on")
    votes: dict[str | Fraction, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer is not None:
            votes.setdefault(_key(answer), []).append(index)
    return max(votes.values(), key=len)[0] if votes else 0


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


def _key(answer: str) -> str | Fraction:
    """What same answers share."""
    plain = _TEXT.sub(r"\1", answer).strip(" \t\n$*").removesuffix(".").rstrip()
    option = _OPTION.fullmatch(plain)
    if option:
        return option[1].lower()
    number = _NUMBER.fullmatch(plain)
    if number and int(number[2] or 1):
        return Fraction(number[1].replace(",", "")) / int(number[2] or 1)
    return " ".join(plain.lower().split())
