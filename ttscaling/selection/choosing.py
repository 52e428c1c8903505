"""Choose among gathered candidates by their scores, or without scores as `on_critic_error` says."""

from collections.abc import Sequence

from ttscaling.types import CriticError, OnCriticError, ScoredCandidate, Selection

from .plan import GatheredCandidates
from .ranking import best_candidate


def choose(
    gathered: GatheredCandidates, on_critic_error: OnCriticError | None, *, by_votes: bool
) -> Selection:
    """Return the selection of the best of the scored candidates, see `best_candidate`.

    A candidate without a score can't win while another has one. If none has a score, the earliest candidate
    is chosen with "first", and the most frequent final answer with the other values. None stands for a
    method without a critic, in which all candidates are equal. If none is valid, the
    first one is chosen, and the critic has no part in that. `degraded` names all failures, also a vote in
    which no candidate states a final answer. Raises CriticError under "fail" if the time was over before
    there was a score.
    """
    faults = list(gathered.faults)
    scored = [entry for entry in gathered.finished if entry.score is not None]
    if scored:
        selected = best_candidate(scored, by_votes=by_votes)
    elif not gathered.valid:
        selected = gathered.finished[0]
        faults.append("no candidate is valid; the first one was chosen")
    elif on_critic_error == "fail" and gathered.stopped == "seconds":
        raise CriticError("it gave no score within the allowed seconds")
    elif on_critic_error is None:
        selected = best_candidate(gathered.finished, by_votes=by_votes)
    else:
        selected = best_candidate(gathered.finished, by_votes=on_critic_error != "first")
        faults.append(f"no candidate has a score; chosen by on_critic_error={on_critic_error}")
        by_votes = on_critic_error != "first"
    if by_votes and gathered.valid:
        faults += _missing_vote(scored or gathered.finished)
    return Selection(
        selected=selected.candidate.index,
        candidates=gathered.candidates,
        stopped=gathered.stopped,
        degraded="; ".join(faults) or None,
        failed=gathered.failed,
        valid=gathered.valid,
        usage=gathered.usage,
    )


def _missing_vote(voters: Sequence[ScoredCandidate]) -> list[str]:
    """Return the fault of a vote in which no candidate states a final answer, or nothing."""
    if any(entry.answer is not None for entry in voters):
        return []
    chosen = "the first candidate" if voters[0].score is None else "the highest score"
    return [f"no candidate states a final answer, so there was no vote; {chosen} was chosen"]
