"""Grade a final answer against the known one, with the comparisons of OpenGVLab's reasoning pipeline.

Upstream: `check_answer` in InternVL's reasoning_data_pipeline (a mode for each data set). Deviation:
upstream's `anls` is the share of characters that differ, so the most different answers count as right. Here
it is the share that agrees.
"""

from fractions import Fraction
from typing import Literal

from .final_answer import same_answer
from .math_verifier import MathVerifier
from .normal_form import LONGEST, number

Mode = Literal["exact", "relaxed", "math", "anls"]
RELATIVE = {"exact": Fraction(0), "relaxed": Fraction(5, 100), "math": Fraction(1, 1000)}
RIGHT = 0.9  # an answer is right above this similarity, as upstream
CLOSE = 0.5  # a similarity below this counts as 0 (arXiv 1905.13648)


def is_right(
    answer: str | None, known: str, *, mode: Mode = "exact", verifier: MathVerifier | None = None
) -> bool:
    """Return whether `answer` is the `known` answer; None (no answer) is wrong.

    In all modes an answer with the same normal form is right. "relaxed" also accepts numbers within 5 % of
    the known one (ChartQA), "math" within 0.1 %, and "anls" texts that agree in more than 90 % (DocVQA,
    InfographicVQA). A `verifier` also accepts formulas that are mathematically the same, such as sqrt(8) for
    2 sqrt(2), but not in the mode "anls".
    """
    if answer is None:
        return False
    if same_answer(answer, known):
        return True
    if mode == "anls":
        return anls(answer, known) > RIGHT
    value, target = number(answer), number(known)
    if value is not None and target is not None and abs(value - target) <= RELATIVE[mode] * abs(target):
        return True
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
