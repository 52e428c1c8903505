"""Find the final answer that a solution states, and count votes on final answers.

The formats are those that InternVL's published pipeline asks for (reasoning_data_pipeline, prompts `en`,
`zh`, `en_v2`; evaluation prompts of VLMEvalKit), and those that models write without being asked. Every
function takes time linear in the length of its texts, because the server's event loop calls them on what a
model wrote.
"""

import re
from collections.abc import Sequence

from .boxes import last_box
from .condensing import condensed, content_lines, first_content_line, is_definite
from .labels import has_label, labelled, statements
from .normal_form import Core, normal_form, number, read_answer

_CONCLUSION = re.compile(
    r"(?:[*#>\s]|(?:so|thus|hence|therefore|finally)(?![a-z])|∴|所以|因此|故|于是|[,，:：])*", re.IGNORECASE
)
_TAG = re.compile(r"<answer>:?", re.IGNORECASE)
_CLOSING_TAG = re.compile(r"</answer>", re.IGNORECASE)
_UNFINISHED = re.compile(
    r"\d{1,2}[.)]|[^*].*[-+*/=(]", re.DOTALL
)  # the next item of a list, or a cut-off step
_RESULT = re.compile(r"[*_#>\s]*(?:result|solution|conclusion|结果|结论)[*_\s]*[:：][*_\s]*", re.IGNORECASE)
_DENIAL = re.compile(
    r"(?:the\s)?(?:correct\s|right\s)?(?:answer|option|choice)\b.{0,20}?\b"
    r"(?:is\snot|isn't|can't\sbe|cannot\sbe)\b(?! enough| given| possible)|(?:正确)?(?:答案|选项)不是",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?<![A-Za-z])[A-H](?![A-Za-z])")


def final_answer(text: str, *, cut_off: bool = False) -> str | None:
    """Return the final answer of a solution, or None if it states none.

    The places are tried in this order: the last `<answer>`; what follows the last label, such as
    `Final answer:` or a heading `Answer`, which is the last box there, or without a box the first line that
    says something; the last box of the text; what follows the last "the answer is". Otherwise a text of one
    line is the answer, as in the reply to "answer with the letter", and of a longer text a last or first line
    that is only a number or a letter. The last line of a text that was `cut_off` is no answer, because 18 may
    be the beginning of 18 + 3.
    """
    text = text.rpartition("</think>")[2].strip() or text
    if tags := list(_TAG.finditer(text)):
        inside = _CLOSING_TAG.split(text[tags[-1].end() :], maxsplit=1)[0]
        return _stated(inside) or condensed(first_content_line(inside)) or None
    answer = _stated(text)
    if answer is not None or has_label(text):
        return answer
    return _bare_answer(text, cut_off=cut_off)


def _stated(text: str) -> str | None:
    """Return the answer behind the last label, in the last box, or in the last sentence that states one."""
    for part in labelled(text):
        if answer := last_box(part) or condensed(first_content_line(part)):
            return answer
    return last_box(text) or next(filter(None, map(condensed, statements(text))), None)


def _bare_answer(text: str, *, cut_off: bool) -> str | None:
    """Return the one line of a text, or of several lines the last or first if it is a number or letter."""
    lines = content_lines(text)
    if len(lines) < 2:
        answer = condensed(_concluded("".join(lines)))
        return None if _DENIAL.match(answer) else answer or None
    ends = [lines[-1], lines[0]][cut_off:]
    for end in (end for end in ends if not _UNFINISHED.fullmatch(end)):
        line = condensed(_concluded(end))
        reading = read_answer(line)
        if reading.kind == "number" or (reading.kind == "options" and _OPTION.search(line)):
            return line
    return None


def _concluded(line: str) -> str:
    """Return the line without "therefore" before a name and its value, and without "Result:"."""
    match = _CONCLUSION.match(line)
    bare = line[match.end() :] if match else line
    if (result := _RESULT.match(bare)) and is_definite(bare[result.end() :].rstrip("*.。 ")):
        return bare[result.end() :]
    return bare if "=" in bare or number(bare) is not None else line


def same_answer(left: str, right: str) -> bool:
    """Return whether two final answers have the same `normal_form`, which is an equivalence."""
    return normal_form(left) == normal_form(right)


def group_equal_answers(answers: Sequence[str | None]) -> list[list[int]]:
    """Return groups of indices whose answers are the same, all in order; None (no answer) is in no group.

    Answers with one normal form are the same. An answer that leaves out its unit, its name or its option's
    text joins those that state it, if all of these state the same: 5 joins 5 cm unless there is also 5 m.
    """
    readings = [None if answer is None else read_answer(answer) for answer in answers]
    details: dict[Core, set[str]] = {}
    firm: set[Core] = set()
    for reading in readings:
        if reading is not None and reading.detail is not None:
            details.setdefault(reading.core, set()).add(reading.detail)
            firm |= {reading.core} if reading.joins else set()
    groups: dict[object, list[int]] = {}
    for index, reading in enumerate(readings):
        if reading is not None:
            joined = reading.core in firm and len(details[reading.core]) == 1
            groups.setdefault(reading.core if joined else reading.form, []).append(index)
    return list(groups.values())


def agree(answer: str, known: str) -> bool:
    """Return whether two answers are the same but for a unit, a name or an option's text that one lacks."""
    return len(group_equal_answers([answer, known])) == 1


def majority(answers: Sequence[str | None]) -> int:
    """Return the index of the first answer in the largest group of same answers.

    A tie goes to the earlier group. None (no answer) has no vote; if there is no vote, the index is 0. Raises
    ValueError for an empty sequence.
    """
    if not answers:
        raise ValueError("there are no answers to vote on: give at least one")
    groups = group_equal_answers(answers)
    return max(groups, key=len)[0] if groups else 0
