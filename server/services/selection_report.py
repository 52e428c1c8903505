"""What the reply tells beyond OpenAI's fields: how its answer was chosen, and how its media were seen."""

import math
from typing import Any

from model.prompt_positions import DELTA_MODALITY
from ttscaling.types import ABANDONED, Critic, ScoredCandidate, Selection, Spent

from .protocol import (
    CandidateReport,
    CriticUsage,
    PolicyUsage,
    Scaling,
    ScalingReport,
    ScalingUsage,
    VisionReport,
)
from .sight import Sight


def ranking(selection: Selection) -> list[int]:
    """Indices of the finished, best first: the selected one, then by score; without scores in order."""

    def place(entry: ScoredCandidate) -> tuple[bool, float, int]:
        index = entry.candidate.index
        return index != selection.selected, math.inf if entry.score is None else -entry.score, index

    finished = [entry for entry in selection.candidates if entry.candidate.finish_reason != ABANDONED]
    return [entry.candidate.index for entry in sorted(finished, key=place)]


def report(
    selection: Selection, scaling: Scaling, critic: Critic | None, seed: int, spent: Spent
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
            policy=PolicyUsage(prompt=spent.prompt, cached=spent.cached, completion=spent.completion),
            critic=CriticUsage(prompt=spent.critic_prompt, cached=spent.critic_cached),
        ),
    )


def add_vision(reply: dict[str, Any], sight: Sight | None) -> dict[str, Any]:
    """vLLM's reply or chunk with `vision`, where the prompt has media. Deltas are items to vLLM: its count of
    tokens by kind of medium must not list them.
    """
    details = (reply.get("usage") or {}).get("prompt_tokens_details") or {}
    (details.get("multimodal_tokens") or {}).pop(DELTA_MODALITY, None)
    if sight is None or not sight.tiles:
        return reply
    delta = sight.deltas[0] if len(set(sight.deltas)) == 1 else list(sight.deltas)
    vision = VisionReport(
        v2pe_delta=delta, highest_position=sight.highest_position, tiles=sight.tiles, frames=sight.frames
    )
    return {**reply, "vision": vision.model_dump()}


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
