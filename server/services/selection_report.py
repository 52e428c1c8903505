"""The reply's account of a selection: the order of its choices and `test_time_scaling`."""

import math

from server.protocol.reply_fields import (
    CandidateReport,
    CriticUsage,
    PolicyUsage,
    ScalingReport,
    ScalingUsage,
    VoteReport,
)
from server.protocol.request_fields import ScalingFields
from ttscaling.types import ABANDONED, Critic, ScoredCandidate, Selection, TokenUsage


def ranking(selection: Selection) -> list[int]:
    """Return the indices of the finished candidates, best first.

    The selected candidate comes first. The others follow by falling score, and those without a score come
    last, in the order of their indices.
    """

    def rank(entry: ScoredCandidate) -> tuple[bool, float, int]:
        index = entry.candidate.index
        return index != selection.selected, math.inf if entry.score is None else -entry.score, index

    finished = [entry for entry in selection.candidates if entry.candidate.finish_reason != ABANDONED]
    return [entry.candidate.index for entry in sorted(finished, key=rank)]


def scaling_report(
    selection: Selection, scaling: ScalingFields, critic: Critic | None, seed: int, usage: TokenUsage
) -> ScalingReport:
    """Return the reply's `test_time_scaling`. `critic` is None if no critic scored the candidates."""
    return ScalingReport(
        method=scaling.method,
        selected=selection.selected,
        critic=None if critic is None else critic.name,
        aggregation=None if critic is None else scaling.step_aggregation,
        seed=seed,
        stopped=selection.stopped,
        degraded=selection.degraded,
        candidates=[_candidate_report(entry) for entry in selection.candidates],
        votes=[
            VoteReport(answer=vote.answer, candidates=list(vote.candidates), score=vote.score)
            for vote in selection.votes
        ],
        usage=ScalingUsage(
            policy=PolicyUsage(prompt=usage.prompt, cached=usage.cached, completion=usage.completion),
            critic=CriticUsage(prompt=usage.critic_prompt, cached=usage.critic_cached),
        ),
    )


def _candidate_report(entry: ScoredCandidate) -> CandidateReport:
    scores = entry.step_scores
    return CandidateReport(
        index=entry.candidate.index,
        answer=entry.answer,
        score=entry.score,
        step_scores=None if scores is None else list(scores.scores),
        finish_reason=entry.candidate.finish_reason,
        completion_tokens=entry.candidate.completion_tokens,
        text=entry.candidate.text,
        steps=None if scores is None else list(scores.steps),
    )
