"""Choose among gathered candidates by their scores, or without scores as `on_critic_error` says."""

import math
from collections.abc import Callable, Sequence

from ttscaling.answers.final_answer import final_answer, group_equal_answers, majority
from ttscaling.types import CriticError, OnCriticError, ScoredCandidate, Selection

from .plan import GatheredCandidates


def choose(
    gathered: GatheredCandidates,
    pick: Callable[[Sequence[ScoredCandidate]], ScoredCandidate],
    on_critic_error: OnCriticError,
) -> Selection:
    """Return the selection of the candidate that `pick` chooses among the scored ones.

    A candidate without a score can't win while another has one. If none has a score, the earliest candidate
    is chosen with "first", and the most frequent final answer with the other values. `degraded` names all
    failures. Raises CriticError under "fail" if the time was over before there was a score.
    """
    faults = list(gathered.faults)
    scored = [entry for entry in gathered.finished if entry.score is not None]
    if scored:
        selected = pick(scored)
    elif on_critic_error == "fail" and gathered.stopped == "seconds":
        raise CriticError("it gave no score within the allowed seconds")
    else:
        selected = (
            gathered.finished[0] if on_critic_error == "first" else majority_candidate(gathered.finished)
        )
        faults.append(f"no candidate has a score; chosen by on_critic_error={on_critic_error}")
    return Selection(
        selected=selected.candidate.index,
        candidates=gathered.candidates,
        stopped=gathered.stopped,
        degraded="; ".join(faults) or None,
        failed=gathered.failed,
    )


def highest_scored(scored: Sequence[ScoredCandidate]) -> ScoredCandidate:
    """Return the candidate with the highest score; a tie goes to the earlier candidate."""
    return max(scored, key=_score)


def weighted_best(scored: Sequence[ScoredCandidate]) -> ScoredCandidate:
    """Return the best candidate of the final answer whose candidates' scores add up to most.

    A tie goes to the answer that comes first. Candidates without a final answer have no vote. If no candidate
    has one, the highest score wins.
    """
    groups = group_equal_answers([final_answer(entry.candidate.text) for entry in scored])
    answers = [[scored[index] for index in group] for group in groups]
    return highest_scored(max(answers, key=_weight) if answers else scored)


def majority_candidate(candidates: Sequence[ScoredCandidate]) -> ScoredCandidate:
    """Return the first candidate of the most frequent final answer."""
    return candidates[majority([final_answer(entry.candidate.text) for entry in candidates])]


def _weight(group: Sequence[ScoredCandidate]) -> float:
    return math.fsum(_score(entry) for entry in group)


def _score(entry: ScoredCandidate) -> float:
    assert entry.score is not None, "only scored candidates are compared"
    return entry.score
