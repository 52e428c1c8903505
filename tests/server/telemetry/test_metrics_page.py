"""docs/metrics.md lists every metric of ours with its labels, its type and its meaning, word for word."""

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from server.telemetry.metrics import Metrics
from server.vllm_engine.policy_metrics import PolicyMetrics

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def rows(registry: CollectorRegistry) -> Iterator[str]:
    """Yield the row of each metric in a registry."""
    for collector in registry._collector_to_names:
        labels = ",".join(collector._labelnames) if isinstance(collector, MetricWrapperBase) else ""
        for metric in collector.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            name += f"{{{labels}}}" if labels else ""
            yield f"| `{name}` | {metric.type} | {metric.documentation.rstrip('.')} |"


def all_rows() -> list[str]:
    """Return the rows of the metrics of the server, and of those of its policy."""
    of_policy = CollectorRegistry()
    PolicyMetrics(of_policy)
    return sorted([*rows(Metrics()._registry), *rows(of_policy)])


def test_the_page_lists_every_metric():
    assert re.findall(r"^\| `internvl3_.*$", PAGE.read_text(), re.MULTILINE) == all_rows()
