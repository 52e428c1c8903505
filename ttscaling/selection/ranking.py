"""The two ways to choose among candidates: the highest score, or the final answer with the most votes."""

import math
from collections.abc import Sequence

from ttscaling.answers.final_answer import group_equal_answers
from ttscaling.types import ScoredCandidate


def best_candidate(entries: Sequence[ScoredCandidate], *, by_votes: bool) -> ScoredCandidate:
    """Return the candidate with the highest score; a tie goes to the earlier candidate.

    With `by_votes` it is the best candidate of the final answer with the most votes. If no candidate states a
    final answer, the highest score wins there, too. Candidates without a score are equal. Raises ValueError
    for no entries.
    """
    return max((by_votes and leading_candidates(entries)) or entries, key=_score)


def leading_candidates(entries: Sequence[ScoredCandidate]) -> list[ScoredCandidate]:
    """Return the candidates of the final answer with the most votes; there is none without a final answer.

    A tie goes to the answer that comes first.
    """
    return max(group_by_answer(entries), key=vote_weight, default=[])


def group_by_answer(entries: Sequence[ScoredCandidate]) -> list[list[ScoredCandidate]]:
    """Return the candidates of each final answer. Those that state no final answer are left out."""
    groups = group_equal_answers([entry.answer for entry in entries])
    return [[entries[index] for index in group] for group in groups]


def vote_weight(entries: Sequence[ScoredCandidate]) -> float:
    """Return the votes of candidates: the sum of their scores. A candidate without a score has one vote."""
    return math.fsum(_score(entry) for entry in entries)


def _score(entry: ScoredCandidate) -> float:
    return 1.0 if entry.score is None else entry.score
