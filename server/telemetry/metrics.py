"""The server's Prometheus metrics, whose names begin with internvl3_.

The route /metrics adds vLLM's metrics, whose names begin with vllm:.
"""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

from ttscaling.types import TokenUsage

from .selection_metrics import SelectionMetrics, usage_by_model

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)


class Metrics:
    """The metrics of one app. Every app has a registry, so that apps don't share counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "internvl3_http_requests",
            "HTTP requests that the server has answered.",
            ("route", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
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
        self.media_seconds = Histogram(
            "internvl3_media_seconds",
            "Seconds to fetch, check and decode the images and videos of a request.",
            buckets=SECONDS,
            registry=registry,
        )
        self.media_decodes = Counter(
            "internvl3_media_decodes",
            "Images and videos that were decoded, by kind.",
            ("kind",),
            registry=registry,
        )
        self.video_cache = Counter(
            "internvl3_video_cache",
            "Videos of all requests, by where their tiles came from: kept from an earlier request (hit), "
            "decoded (miss), or decoded for another request at the same time (shared).",
            ("outcome",),
            registry=registry,
        )
        self.video_cache_bytes = Gauge(
            "internvl3_video_cache_bytes", "Bytes of the tiles of videos that are kept.", registry=registry
        )
        self.videos = Counter("internvl3_videos", "Videos of all requests.", registry=registry)
        self.video_frames = Counter(
            "internvl3_video_frames",
            "Frames of the videos of all requests.",
            registry=registry,
        )
        self.media_failures = Counter(
            "internvl3_media_failures",
            "Requests that were refused for an image or video, by its kind, the error's code and the reason.",
            ("kind", "code", "reason"),
            registry=registry,
        )
        self.selections = SelectionMetrics(registry)
        self._tokens = Counter(
            "internvl3_tokens",
            "Tokens that the engines have read and written for all requests, cancelled and failed ones "
            "included, by the name of the API key.",
            ("key", "model", "kind"),
            registry=registry,
        )
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
        self.stream_errors = Counter(
            "internvl3_http_stream_errors",
            "Streamed replies that began with status 200 and ended with an error event.",
            ("route",),
            registry=registry,
        )

    def count_tokens(self, key: str, usage: TokenUsage) -> None:
        """Count tokens that the requests of an API key have taken. `key` is its name."""
        for model, kind, tokens in usage_by_model(usage):
            self._tokens.labels(key, model, kind).inc(tokens)

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


def render(registries: Sequence[CollectorRegistry]) -> bytes:
    """Return the metrics of several registries in Prometheus' text format."""
    return generate_latest(MergedRegistries(registries))
