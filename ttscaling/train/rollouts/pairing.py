"""Make MMPR's preference pairs from a question's solutions and their verdicts.

Source: arXiv 2411.10442 section 3; OpenGVLab/InternVL `tools/reasoning_data_pipeline`:
`mmpr_data_pipeline_correctness_postprocess.py` and `mmpr_data_pipeline_dropout_ntp.py`. The functions here
only compute; `ttscaling.records.pairs` writes the pairs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ttscaling.answers.normal_form import number
from ttscaling.records.pairs import PairRecord
from ttscaling.records.questions import Question

PAIRS_PER_QUESTION = 15
"""The published limit. It holds separately for wrong answers and for missing ones."""

_MEDIA = re.compile(r"(?:(?:Image|Frame)-?\d+: )?<(?:image|video)>\n?")


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A response to a question; `answer` is the final answer that it states, None if there is none."""

    text: str
    answer: str | None
    right: bool


def correctness_pairs(
    question: Question,
    solutions: Sequence[Solution],
    rng: np.random.Generator,
    *,
    limit: int = PAIRS_PER_QUESTION,
) -> list[PairRecord]:
    """Return pairs of a right and a wrong solution: at most `limit` of all combinations, drawn at random.

    There is no pair where the right answer is part of the wrong one's text ("red" and "dark red"), because
    the verdict may be too strict there. Deviation: upstream also leaves out pairs of numbers such as 7 and
    17. They are pairs here, because their verdict is certain.
    """
    wrong = [solution for solution in solutions if not solution.right and solution.answer is not None]
    return _draw_pairs(question, solutions, wrong, rng, limit)


def format_pairs(
    question: Question,
    solutions: Sequence[Solution],
    rng: np.random.Generator,
    *,
    limit: int = PAIRS_PER_QUESTION,
) -> list[PairRecord]:
    """Return pairs of a right solution and one that states no answer: at most `limit`, drawn at random."""
    unstated = [solution for solution in solutions if not solution.right and solution.answer is None]
    return _draw_pairs(question, solutions, unstated, rng, limit)


def dropout_beginning(chosen: str, *, share: float = 0.5) -> str:
    """Return the first `share` of a response's words, which DropoutNTP continues without the image.

    The result is empty if the response is too short to be cut.
    """
    words = chosen.split(" ")
    return " ".join(words[: int(len(words) * share)]).strip()


def dropout_question(question: Question) -> str:
    """Return the question's text without the slots of images and videos, as DropoutNTP asks it."""
    return _MEDIA.sub("", question.text).strip()


def dropout_pair(question: Question, chosen: str, rejected: str) -> PairRecord | None:
    """Return a pair of a response and `rejected`, its beginning continued without the image.

    `rejected` holds the beginning and the continuation. The result is None if the question has neither image
    nor video, or if both texts are the same.
    """
    if (not question.images and question.video is None) or chosen.strip() == rejected.strip():
        return None
    return _pair(question, chosen, rejected)


def _draw_pairs(
    question: Question,
    solutions: Sequence[Solution],
    rejected: Sequence[Solution],
    rng: np.random.Generator,
    limit: int,
) -> list[PairRecord]:
    """Return at most `limit` pairs of distinct texts, in the order of the solutions."""
    right = [solution for solution in solutions if solution.right]
    texts = dict.fromkeys(
        (good.text, bad.text) for good, bad in product(right, rejected) if not _entailed(good, bad)
    )
    pairs = [_pair(question, *both) for both in texts if all(text.strip() for text in both)]
    indices = sorted(rng.permutation(len(pairs))[:limit].tolist())
    return [pairs[index] for index in indices]


def _entailed(right: Solution, wrong: Solution) -> bool:
    if right.answer is None or wrong.answer is None:
        return False
    if number(right.answer) is not None and number(wrong.answer) is not None:
        return False
    return right.answer.lower() in wrong.answer.lower()


def _pair(question: Question, chosen: str, rejected: str) -> PairRecord:
    return PairRecord(
        question=question.text,
        chosen=chosen,
        rejected=rejected,
        images=question.images,
        video=question.video,
        answer=question.answer,
    )
