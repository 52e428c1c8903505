"""What the reply tells beyond OpenAI's fields: how its answer was chosen, and how its media were seen."""

import math

from server.protocol.reply_fields import (
    CandidateReport,
    CriticUsage,
    PolicyUsage,
    ScalingReport,
    ScalingUsage,
)
from server.protocol.request_fields import ScalingFields
from ttscaling.types import ABANDONED, Critic, ScoredCandidate, Selection, TokenUsage


def ranking(selection: Selection) -> list[int]:
    """Indices of the finished, best first: the selected one, then by score; without scores in order."""

    def place(entry: ScoredCandidate) -> tuple[bool, float, int]:
        index = entry.candidate.index
        return index != selection.selected, math.inf if entry.score is None else -entry.score, index

    finished = [entry for entry in selection.candidates if entry.candidate.finish_reason != ABANDONED]
    return [entry.candidate.index for entry in sorted(finished, key=place)]


def report(
    selection: Selection, scaling: ScalingFields, critic: Critic | None, seed: int, usage: TokenUsage
) -> ScalingReport:
    """The reply's `test_time_scaling`; `critic` is the one that judged, None if none did."""
    return ScalingReport(
        method=scaling.method,
        selected=selection.selected,
        critic=None if critic is None else critic.name,
        aggregation=None if critic is None else scaling.aggregation,
        seed=seed,
        stopped=selection.stopped,
        degraded=selection.degraded,
        candidates=[_candidate_report(entry) for entry in selection.candidates],
        usage=ScalingUsage(
            policy=PolicyUsage(prompt=usage.prompt, cached=usage.cached, completion=usage.completion),
            critic=CriticUsage(prompt=usage.critic_prompt, cached=usage.critic_cached),
        ),
    )


def _candidate_report(entry: ScoredCandidate) -> CandidateReport:
    scores = entry.step_scores
    return CandidateReport(
        index=entry.candidate.index,
        score=entry.score,
        step_scores=None if scores is None else list(scores.scores),
        finish_reason=entry.candidate.finish_reason,
        completion_tokens=entry.candidate.completion_tokens,
        text=entry.candidate.text,
        steps=None if scores is None else list(scores.steps),
    )
