"""From gathered candidates to the selection: by scores where there are any, else as the caller said."""

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
    """What `pick` takes of the scored candidates.

    Candidates without a score can't win while others have one. If none has, "first" takes the earliest
    candidate and the others vote. Whatever failed is told in `degraded`. Raises CriticError under "fail" if
    the time was over before there was a score.
    """
    faults = list(gathered.faults)
    scored = [entry for entry in gathered.finished if entry.score is not None]
    if scored:
        selected = pick(scored)
    elif on_critic_error == "fail" and gathered.stopped == "seconds":
        raise CriticError("it gave no score within the seconds allowed")
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
    """The highest score; a tie goes to the earlier candidate."""
    return max(scored, key=_score)


def weighted_best(scored: Sequence[ScoredCandidate]) -> ScoredCandidate:
    """The best candidate among those of the final answer whose scores add up to most.

    A tie goes to the answer given first. Candidates that state none have no vote; if none does, the best.
    """
    stated = group_equal_answers([final_answer(entry.candidate.text) for entry in scored])
    answers = [[scored[place] for place in members] for members in stated]
    return highest_scored(max(answers, key=_weight) if answers else scored)


def majority_candidate(candidates: Sequence[ScoredCandidate]) -> ScoredCandidate:
    """The first candidate of the most frequent final answer."""
    return candidates[majority([final_answer(entry.candidate.text) for entry in candidates])]


def _weight(members: Sequence[ScoredCandidate]) -> float:
    return math.fsum(_score(entry) for entry in members)


def _score(entry: ScoredCandidate) -> float:
    assert entry.score is not None, "scored candidates only"
    return entry.score
