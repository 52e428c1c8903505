"""Count in one engine's own registry what vLLM reports of it."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from vllm.v1.metrics.loggers import PrometheusStatLogger


def stat_logger_for(registry: CollectorRegistry) -> type[PrometheusStatLogger]:
    """Return a class that records vLLM's metrics in `registry`, the registry of one engine.

    In Prometheus' global registry the metrics of a second engine would replace those of the first.
    """

    class Stats(PrometheusStatLogger):
        _gauge_cls = staticmethod(partial(Gauge, registry=registry))
        _counter_cls = staticmethod(partial(Counter, registry=registry))
        _histogram_cls = staticmethod(partial(Histogram, registry=registry))

    return Stats
