"""The metrics of selections by outcome and by failure."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from server.errors import ApiError
from server.telemetry.selection_metrics import SelectionMetrics
from ttscaling.types import (
    ABANDONED,
    Candidate,
    CriticError,
    OutOfTime,
    PolicyError,
    ScoredCandidate,
    Selection,
    TokenUsage,
)

USAGE = TokenUsage(prompt=40, cached=24, completion=9, critic_prompt=20, critic_cached=5)


def scored(index: int, score: float | None, finish_reason: str = "stop") -> ScoredCandidate:
    candidate = Candidate(
        index=index,
        text="x",
        finish_reason=finish_reason,
        prompt_tokens=10,
        cached_tokens=6,
        completion_tokens=3,
    )
    return ScoredCandidate(candidate=candidate, step_scores=None, score=score)


def sample_value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"internvl3_{name}", labels) or 0.0


def test_every_end_counts_with_its_tokens():
    registry = CollectorRegistry()
    metrics = SelectionMetrics(registry)
    with metrics.timed_selection("best_of_n", 8, lambda: USAGE):
        pass
    with pytest.raises(asyncio.CancelledError), metrics.timed_selection("best_of_n", 2, lambda: USAGE):
        raise asyncio.CancelledError
    assert sample_value(registry, "selections_total", method="best_of_n", outcome="chosen") == 1
    assert sample_value(registry, "selections_total", method="best_of_n", outcome="cancelled") == 1
    assert sample_value(registry, "selection_n_bucket", method="best_of_n", le="4.0") == 1
    assert sample_value(registry, "selection_seconds_count", method="best_of_n") == 2
    tokens = {
        (model, kind): sample_value(registry, "selection_tokens_total", model=model, kind=kind)
        for model in ("policy", "critic")
        for kind in ("prompt_computed", "prompt_cached", "completion")
    }
    assert tokens == {
        ("policy", "prompt_computed"): 32,
        ("policy", "prompt_cached"): 48,
        ("policy", "completion"): 18,
        ("critic", "prompt_computed"): 30,
        ("critic", "prompt_cached"): 10,
        ("critic", "completion"): 0,
    }


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (CriticError("x"), "critic_failed"),
        (OutOfTime("x"), "out_of_time"),
        (PolicyError("x"), "failed"),
        (RuntimeError("x"), "failed"),
        (ApiError("x"), "refused"),
    ],
)
def test_an_exception_passes_through_and_is_counted(error: Exception, outcome: str):
    registry = CollectorRegistry()
    with pytest.raises(type(error)), SelectionMetrics(registry).timed_selection("best_of_n", 2, TokenUsage):
        raise error
    assert sample_value(registry, "selections_total", method="best_of_n", outcome=outcome) == 1


def test_candidates_are_counted_by_outcome():
    registry = CollectorRegistry()
    entries = (scored(0, 0.5), scored(1, 0.7), scored(2, None, ABANDONED))
    selection = Selection(selected=1, candidates=entries, stopped="score", failed=2, degraded="x")
    SelectionMetrics(registry).count_selection(selection, by_critic=True)
    counts = {
        outcome: sample_value(registry, "candidates_total", outcome=outcome)
        for outcome in ("finished", "abandoned", "failed")
    }
    assert counts == {"finished": 2, "abandoned": 1, "failed": 2}
    assert sample_value(registry, "selections_stopped_total", reason="score") == 1


@pytest.mark.parametrize(
    ("scores", "failed", "valid", "by_critic", "reasons"),
    [
        ((0.5, 0.6), 0, True, True, set()),
        ((0.5, None), 0, True, True, {"scores"}),
        ((None, None), 0, True, True, {"critic"}),
        ((None, None), 0, True, False, set()),
        ((0.5,), 1, True, True, {"candidates"}),
        ((None,), 1, True, True, {"candidates", "critic"}),
        ((None,), 2, False, True, {"candidates"}),  # all are invalid, so the critic was not asked
    ],
)
def test_failures_are_counted_by_reason(
    scores: tuple[float | None, ...], failed: int, valid: bool, by_critic: bool, reasons: set[str]
):
    registry = CollectorRegistry()
    entries = tuple(scored(index, score) for index, score in enumerate(scores))
    degraded = "something" if reasons else None
    selection = Selection(selected=0, candidates=entries, failed=failed, valid=valid, degraded=degraded)
    SelectionMetrics(registry).count_selection(selection, by_critic=by_critic)
    every = ("critic", "scores", "candidates")
    assert {r for r in every if sample_value(registry, "selections_degraded_total", reason=r)} == reasons
