"""Count in one engine's own registry what vLLM reports of it, and all its tokens under our name."""

from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from vllm.v1.metrics.loggers import PrometheusStatLogger


def stat_logger_for(registry: CollectorRegistry, model: str) -> type[PrometheusStatLogger]:
    """Return a class that records vLLM's metrics in `registry`, and in it the tokens of `model`.

    In Prometheus' global registry the metrics of a second engine would replace those of the first.

    The tokens are those of all requests, whatever became of them. vLLM reports a prompt once it has read all
    of it, and an answer's tokens as it writes them. So what it had read of a prompt whose request was
    cancelled before is in no counter.

    Args:
        registry: the registry of one engine.
        model: "policy" or "critic".
    """
    tokens = Counter(
        "internvl3_tokens",
        "Tokens that the engines have read and written for all requests, cancelled and failed ones included.",
        ("model", "kind"),
        registry=registry,
    )
    counters = {kind: tokens.labels(model, kind) for kind in ("prompt_computed", "prompt_cached")}
    completion = tokens.labels(model, "completion")

    class Stats(PrometheusStatLogger):
        _gauge_cls = staticmethod(partial(Gauge, registry=registry))
        _counter_cls = staticmethod(partial(Counter, registry=registry))
        _histogram_cls = staticmethod(partial(Histogram, registry=registry))

        def record(self, scheduler_stats: Any, iteration_stats: Any, *others: Any, **more: Any) -> None:
            super().record(scheduler_stats, iteration_stats, *others, **more)
            if iteration_stats is None:
                return
            prompts = iteration_stats.prompt_token_stats
            counters["prompt_computed"].inc(prompts.total - prompts.cached_tokens)
            counters["prompt_cached"].inc(prompts.cached_tokens)
            completion.inc(iteration_stats.num_generation_tokens)

    return Stats
