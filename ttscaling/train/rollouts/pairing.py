"""From a question's solutions and verdicts to MMPR's preference pairs.

Source: arXiv 2411.10442 section 3; OpenGVLab/InternVL `tools/reasoning_data_pipeline`:
`mmpr_data_pipeline_correctness_postprocess.py` and `mmpr_data_pipeline_dropout_ntp.py`. Everything here is
pure; `ttscaling.records.pairs` writes the pairs.
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
"""The published limit, for wrong answers and for missing ones each."""

_MEDIA = re.compile(r"(?:(?:Image|Frame)-?\d+: )?<(?:image|video)>\n?")


@dataclass(frozen=True, kw_only=True)
class Solution:
    """One response to a question; `answer` is what it states in the end, None if it states nothing."""

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
    """Right solutions preferred to wrong ones: at most `limit` of all combinations, drawn at random.

    No pair where the right answer is part of the wrong one's text ("red" and "dark red"): the verdict may be
    too strict there. Deviation: upstream also passes over numbers such as 7 and 17; their verdict is sure.
    """
    wrong = [solution for solution in solutions if not solution.right and solution.answer is not None]
    return _drawn(question, solutions, wrong, rng, limit)


def format_pairs(
    question: Question,
    solutions: Sequence[Solution],
    rng: np.random.Generator,
    *,
    limit: int = PAIRS_PER_QUESTION,
) -> list[PairRecord]:
    """Right solutions preferred to those that state no answer; at most `limit`."""
    unstated = [solution for solution in solutions if not solution.right and solution.answer is None]
    return _drawn(question, solutions, unstated, rng, limit)


def dropout_beginning(chosen: str, *, share: float = 0.5) -> str:
    """The first `share` of a response's words: what DropoutNTP has the model continue without the image.

    Empty where the response is too short to be cut.
    """
    words = chosen.split(" ")
    return " ".join(words[: int(len(words) * share)]).strip()


def dropout_question(question: Question) -> str:
    """The question as DropoutNTP asks it: its text without places for images or a video."""
    return _MEDIA.sub("", question.text).strip()


def dropout_pair(question: Question, chosen: str, rejected: str) -> PairRecord | None:
    """A response preferred to its beginning as it was continued blindly (`rejected` holds both).

    None where there is nothing to prefer: the question shows nothing, or both texts are the same.
    """
    if (not question.images and question.video is None) or chosen.strip() == rejected.strip():
        return None
    return _pair(question, chosen, rejected)


def _drawn(
    question: Question,
    solutions: Sequence[Solution],
    rejected: Sequence[Solution],
    rng: np.random.Generator,
    limit: int,
) -> list[PairRecord]:
    """Pairs of distinct texts, in the order of the solutions."""
    right = [solution for solution in solutions if solution.right]
    texts = dict.fromkeys(
        (good.text, bad.text) for good, bad in product(right, rejected) if not _entailed(good, bad)
    )
    pairs = [_pair(question, *both) for both in texts if all(text.strip() for text in both)]
    kept = sorted(rng.permutation(len(pairs))[:limit].tolist())
    return [pairs[index] for index in kept]


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
