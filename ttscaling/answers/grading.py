"""Grade a final answer against the known one, with the comparisons of OpenGVLab's reasoning pipeline.

Upstream: `check_answer` in InternVL's reasoning_data_pipeline (a mode for each data set). Deviation:
upstream's `anls` is the share of characters that differ, so the most different answers count as right. Here
it is the share that agrees.
"""

import re
from fractions import Fraction
from typing import Literal

from .final_answer import agree
from .math_verifier import MathVerifier
from .normal_form import LONGEST, Reading, read_answer
from .notation import plain_notation
from .options import read_options
from .words import words

Mode = Literal["exact", "relaxed", "math", "anls"]
RELATIVE = {"exact": Fraction(0), "relaxed": Fraction(5, 100), "math": Fraction(1, 1000)}
RIGHT = 0.9  # an answer is right above this similarity, as upstream
_INITIAL = re.compile(r"(?<![\w'’])([A-Z])(?![\w'’])")
CLOSE = 0.5  # a similarity below this counts as 0 (arXiv 1905.13648)


def is_right(
    answer: str | None, known: str, *, mode: Mode = "exact", verifier: MathVerifier | None = None
) -> bool:
    """Return whether `answer` is the `known` answer; None (no answer) is wrong.

    "exact" accepts an answer with the same normal form, and one that only leaves out, or only adds, a unit,
    a name or an option's text: 5 cm for 5, y = 3 for 3, "B. red" for B. But 5 km is wrong for 5 m in every
    mode. "relaxed" also accepts numbers within 5 % of the known one (ChartQA), and "math" within 0.1 %. A
    `verifier` also accepts formulas that are mathematically the same, such as sqrt(8) for 2 sqrt(2). "anls"
    accepts texts that agree in more than 90 % (DocVQA, InfographicVQA), but numbers, option letters and
    initials of names must be the same there.
    """
    if answer is None:
        return False
    left, right = read_answer(answer), read_answer(known)
    if mode == "anls":
        return _similar(answer, known, left, right)
    if agree(answer, known):
        return True
    if left.detail is not None and right.detail is not None and left.detail != right.detail:
        return False
    if isinstance(left.core, Fraction) and isinstance(right.core, Fraction):
        if abs(left.core - right.core) <= RELATIVE[mode] * abs(right.core):
            return True
    elif left.kind == right.kind == "options":
        return False
    return verifier is not None and verifier.same(answer, known)


def anls(answer: str, known: str) -> float:
    """Return the normalised Levenshtein similarity in [0, 1]: 1 for equal texts, 0 if less than half agrees.

    Case and white space at the ends don't matter. If one text has more than LONGEST characters, texts that
    aren't equal have similarity 0.
    """
    left, right = answer.strip().lower(), known.strip().lower()
    if left == right:
        return 1.0
    longer = max(len(left), len(right))
    if longer > LONGEST:
        return 0.0
    similarity = 1 - _distance(left, right) / longer
    return similarity if similarity >= CLOSE else 0.0


def _similar(answer: str, known: str, left: Reading, right: Reading) -> bool:
    """Return whether two texts agree by ANLS, and in numbers, letters and initials exactly."""
    if left.kind == right.kind == "number":
        return left == right
    if left.kind == right.kind == "options":
        ours, theirs = read_options(plain_notation(answer)), read_options(plain_notation(known))
        assert ours is not None and theirs is not None, "they were read as options"
        texts = ours.text, theirs.text
        if ours.letters != theirs.letters or None in texts:
            return ours == theirs
        answer, known = texts[0] or "", texts[1] or ""
    if words(plain_notation(answer)) == words(plain_notation(known)):
        return True
    initials, known_initials = _INITIAL.findall(answer), _INITIAL.findall(known)
    if initials and known_initials and initials != known_initials:
        return False
    return anls(answer, known) > RIGHT


def _distance(left: str, right: str) -> int:
    """Return the Levenshtein distance, computed row by row."""
    row = list(range(len(right) + 1))
    for length, character in enumerate(left, start=1):
        diagonal, row[0] = row[0], length
        for column, other in enumerate(right, start=1):
            above = row[column]
            row[column] = min(above + 1, row[column - 1] + 1, diagonal + (character != other))
            diagonal = above
    return row[-1]
