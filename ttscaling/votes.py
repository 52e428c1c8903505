"""Votes: the final answers that candidates state, and how much each weighs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .answers.final_answer import group_equal_answers


@dataclass(frozen=True, kw_only=True)
class Vote:
    """A final answer and the indices of the candidates that state it.

    `answer` is in the words of the first of them. `score` is the sum of their scores, None if none has one.
    """

    answer: str
    candidates: tuple[int, ...]
    score: float | None


def count_votes(
    indices: Sequence[int], answers: Sequence[str | None], scores: Sequence[float | None]
) -> tuple[Vote, ...]:
    """Return the votes of these candidates, the answer with most votes first.

    Votes are counted by the sum of the scores if there are any, else by the number of candidates. A tie keeps
    the order of the candidates.
    """
    votes = []
    for group in group_equal_answers(answers):
        known = [score for place in group if (score := scores[place]) is not None]
        votes.append(
            Vote(
                answer=answers[group[0]] or "",
                candidates=tuple(indices[place] for place in group),
                score=math.fsum(known) if known else None,
            )
        )
    scored = any(vote.score is not None for vote in votes)
    return tuple(sorted(votes, key=lambda vote: -((vote.score or 0.0) if scored else len(vote.candidates))))
