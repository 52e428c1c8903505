"""The times of each generation: to its first token, between its tokens, and what was cancelled."""

from prometheus_client import CollectorRegistry

from server.vllm_engine.policy_metrics import PolicyMetrics
from ttscaling.types import TokenUsage


class Figures:
    """The metrics of one engine by a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.metrics = PolicyMetrics(self.registry, lambda: self.now)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"internvl3_{name}", labels) or 0.0


def test_times_of_tokens():
    figures = Figures()
    counted: list[TokenUsage] = []
    generation = figures.metrics.generation("candidate", choices=1, count=counted.append)
    for now, tokens in ((1.0, 0), (2.0, 1), (2.5, 1), (3.5, 2)):
        figures.now = now
        generation.take(TokenUsage(prompt=7, completion=tokens))
    assert len(counted) == 4
    first, gaps = "time_to_first_token_seconds", "time_between_tokens_seconds"
    assert figures.value(f"{first}_sum", kind="candidate") == 2.0
    assert figures.value(f"{gaps}_count", kind="candidate") == 3
    assert figures.value(f"{gaps}_sum", kind="candidate") == 1.5
    assert figures.value(f"{gaps}_bucket", kind="candidate", le="0.5") == 3
    assert figures.value(f"{first}_count", kind="plain") == 0
    assert figures.value("cancelled_tokens_total", kind="candidate") == 0
    generation.cancel()
    assert figures.value("cancelled_tokens_total", kind="candidate") == 4


def test_several_choices_at_once_have_no_times_between_their_tokens():
    figures = Figures()
    generation = figures.metrics.generation("plain", choices=2, count=lambda usage: None)
    generation.take(TokenUsage(completion=1))
    generation.take(TokenUsage(completion=1))
    assert figures.value("time_to_first_token_seconds_count", kind="plain") == 1
    assert figures.value("time_between_tokens_seconds_count", kind="plain") == 0


def test_deltas():
    figures = Figures()
    figures.metrics.observe_deltas((1 / 16, 1.0))
    figures.metrics.observe_deltas(())
    assert figures.value("v2pe_delta_count") == 2
    assert figures.value("v2pe_delta_bucket", le="0.0625") == 1
