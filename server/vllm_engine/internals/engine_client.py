"""What vLLM's client of an engine doesn't offer: processes, the tokens of each output, and metrics apart."""

from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from vllm.v1.metrics.loggers import PrometheusStatLogger

from ttscaling.types import TokenUsage


def engine_processes(client: Any) -> Sequence[BaseProcess]:
    """Return the processes of an engine, given vLLM's `AsyncLLM`."""
    processes: Sequence[BaseProcess] = client.engine_core.resources.engine_manager.processes
    return processes


def report_usage(client: Any, report: Callable[[str, TokenUsage], None]) -> None:
    """Have the tokens of every output of an engine reported, with the id of the request as it was sent.

    vLLM's output processor updates its statistics from every output of the engine, whatever becomes of the
    request. The report comes from the same place, so it holds what vLLM's own counters hold.

    Args:
        client: vLLM's `AsyncLLM`, whose output processor is changed.
        report: gets the id of a request and the tokens of an output.
    """
    processor = client.output_processor
    update = processor._update_stats_from_output

    def update_and_report(request: Any, output: Any, *others: Any, **more: Any) -> None:
        report(request.external_req_id, _usage(output, begins=request.is_prefilling))
        update(request, output, *others, **more)

    processor._update_stats_from_output = update_and_report


def stat_logger_for(registry: CollectorRegistry) -> type[PrometheusStatLogger]:
    """Return a class that records vLLM's metrics in `registry`, the registry of one engine.

    In Prometheus' global registry the metrics of a second engine would replace those of the first.
    """

    class Stats(PrometheusStatLogger):
        _gauge_cls = staticmethod(partial(Gauge, registry=registry))
        _counter_cls = staticmethod(partial(Counter, registry=registry))
        _histogram_cls = staticmethod(partial(Histogram, registry=registry))

    return Stats


def _usage(output: Any, *, begins: bool) -> TokenUsage:
    """Return the tokens of one output of the engine, as vLLM's `IterationStats` counts them."""
    prefill = output.prefill_stats if begins else None
    return TokenUsage(
        prompt=0 if prefill is None else prefill.num_prompt_tokens,
        cached=0 if prefill is None else prefill.num_cached_tokens,
        completion=len(output.new_token_ids),
    )
