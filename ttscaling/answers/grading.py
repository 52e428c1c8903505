"""Whether a final answer is right, given the known one: the comparisons of OpenGVLab's reasoning pipeline.

Upstream: `check_answer` in InternVL's reasoning_data_pipeline (modes per data set). Deviation: its `anls` is
the share of characters that differ, so what differs most counted as right; here it is the share that agrees.
"""

from fractions import Fraction
from typing import Literal

from .final_answer import same_answer
from .math_verifier import MathVerifier
from .normal_form import LONGEST, number

Mode = Literal["exact", "relaxed", "math", "anls"]
RELATIVE = {"exact": Fraction(0), "relaxed": Fraction(5, 100), "math": Fraction(1, 1000)}
RIGHT = 0.9  # upstream's bar for a graded comparison
CLOSE = 0.5  # below it, ANLS is 0 (arXiv 1905.13648)


def is_right(
    answer: str | None, known: str, *, mode: Mode = "exact", verifier: MathVerifier | None = None
) -> bool:
    """Whether `answer` says what `known` does; None (nothing stated) is wrong.

    exact: the same normal form. relaxed: numbers within 5 % of the known one (ChartQA). math: within 0.1 %.
    anls: texts that agree in more than 90 % (DocVQA, InfographicVQA). A `verifier` also accepts what is
    mathematically the same: sqrt(8) for 2 sqrt(2).
    """
    if answer is None:
        return False
    if same_answer(answer, known):
        return True
    if mode == "anls":
        return anls(answer, known) > RIGHT
    given, wanted = number(answer), number(known)
    if given is not None and wanted is not None and abs(given - wanted) <= RELATIVE[mode] * abs(wanted):
        return True
    return verifier is not None and verifier.same(answer, known)


def anls(answer: str, known: str) -> float:
    """Normalised Levenshtein similarity in [0, 1]: 1 for equal texts, 0 where less than half agrees.

    Case and outer white space don't matter. Texts beyond LONGEST characters agree entirely or not at all.
    """
    left, right = answer.strip().lower(), known.strip().lower()
    if left == right:
        return 1.0
    longer = max(len(left), len(right))
    if longer > LONGEST:
        return 0.0
    similarity = 1 - _distance(left, right) / longer
    return similarity if similarity >= CLOSE else 0.0


def _distance(left: str, right: str) -> int:
    """Levenshtein's, row by row."""
    row = list(range(len(right) + 1))
    for place, character in enumerate(left, start=1):
        diagonal, row[0] = row[0], place
        for column, other in enumerate(right, start=1):
            above = row[column]
            row[column] = min(above + 1, row[column - 1] + 1, diagonal + (character != other))
            diagonal = above
    return row[-1]
