"""Decide whether the candidates so far end a selection, and how many others are begun if they don't."""

from collections.abc import Iterable

from ttscaling.answers.normal_form import normal_form, read_answer
from ttscaling.types import ScoredCandidate, Stopped

from .plan import GatherPlan
from .ranking import best_candidate, group_by_answer, leading_candidates, vote_weight
from .stopping import answers_agree, two_largest, votes_missing, votes_out_of_reach


def met_rule(plan: GatherPlan, finished: Iterable[ScoredCandidate], *, left: int) -> Stopped | None:
    """Return the rule that the candidate meets which would be chosen now, or None.

    `left` candidates are neither scored yet nor lost.
    """
    rule, voters = plan.stop, _voters(plan, finished)
    if not voters or (rule.score is None and rule.agreement is None):
        return None
    chosen = best_candidate(voters, by_votes=plan.by_votes)
    if rule.score is not None and chosen.score is not None and chosen.score >= rule.score:
        return "score"
    if rule.agreement is None or chosen not in leading_candidates(voters):
        return None
    votes = _votes(voters)
    if answers_agree(votes, rule.agreement) or (plan.by_votes and _is_beyond_reach(voters, left)):
        return "agreement"
    return None


def first_wave(plan: GatherPlan) -> int:
    """Return how many candidates are begun at first: all, or the fewest that could decide, at least 2."""
    rule = plan.stop
    if rule.max_parallel is not None:
        return rule.max_parallel
    if rule.score is not None:
        return 2
    return plan.n if rule.agreement is None else max(2, _missing(plan, [], left=plan.n))


def successors(plan: GatherPlan, finished: Iterable[ScoredCandidate], *, left: int, unsettled: int) -> int:
    """Return how many others are begun when a candidate has ended without a decision.

    `left` candidates are neither scored yet nor lost, and `unsettled` of them were begun.
    """
    rule = plan.stop
    if rule.max_parallel is not None:
        return 1
    if rule.agreement is None or rule.score is not None:
        return 2
    missing = _missing(plan, _votes(_voters(plan, finished)), left=left)
    return max(0, max(1, missing) - unsettled)


def _missing(plan: GatherPlan, votes: list[float], *, left: int) -> int:
    """Return the fewest more votes for the leading answer that meet the rule on agreement.

    If votes choose, these are no more than bring it beyond the reach of the `left` ones.
    """
    assert plan.stop.agreement is not None, "this is asked only under the rule on agreement"
    leader, second = two_largest(votes)
    missing = votes_missing(leader, second, plan.stop.agreement)
    return min(missing, votes_out_of_reach(leader, second, left)) if plan.by_votes else missing


def _is_beyond_reach(voters: list[ScoredCandidate], left: int) -> bool:
    """Return whether `left` more votes of at most 1 can't bring another answer as far as the leading one.

    An answer that leaves out a unit or a name joins those that state it, until one of the votes that are left
    states another. Others join only when one of these votes states it surely. So the leading answer counts
    only with the candidates whose answers are the same without that, and all others that could join each
    other count together.
    """
    leading: dict[object, list[ScoredCandidate]] = {}
    for entry in leading_candidates(voters):
        leading.setdefault(normal_form(entry.answer or ""), []).append(entry)
    surest = max(leading.values(), key=vote_weight)
    rivals: dict[object, list[ScoredCandidate]] = {}
    for entry in voters:
        if entry.answer is not None and entry not in surest:
            rivals.setdefault(read_answer(entry.answer).core, []).append(entry)
    return vote_weight(surest) > max(map(vote_weight, rivals.values()), default=0.0) + left


def _voters(plan: GatherPlan, finished: Iterable[ScoredCandidate]) -> list[ScoredCandidate]:
    """Return the candidates that may be chosen as things stand, in index order."""
    in_order = sorted(finished, key=lambda entry: entry.candidate.index)
    return [entry for entry in in_order if plan.critic is None or entry.score is not None]


def _votes(voters: list[ScoredCandidate]) -> list[float]:
    """Return the votes for each final answer; with a critic, a vote weighs its candidate's score."""
    return [vote_weight(group) for group in group_by_answer(voters)]
