"""The server's own figures for Prometheus, all named internvl3_*. vLLM's stand beside them under their own
names.
"""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

from .selection_metrics import SelectionMetrics

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)


class Metrics:
    """One set per app, so that apps don't share counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "internvl3_http_requests", "Requests answered.", ("route", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "internvl3_http_request_seconds",
            "From a request's arrival to the end of its reply.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "internvl3_http_requests_in_flight", "Requests being answered.", registry=registry
        )
        self.media_seconds = Histogram(
            "internvl3_media_seconds",
            "Fetching, checking and decoding the images and videos of a request.",
            buckets=SECONDS,
            registry=registry,
        )
        self.videos = Counter("internvl3_videos", "Videos decoded.", registry=registry)
        self.video_frames = Counter("internvl3_video_frames", "Frames taken of them.", registry=registry)
        self.video_failures = Counter(
            "internvl3_video_failures", "Videos that could not be used.", ("reason",), registry=registry
        )
        self.selections = SelectionMetrics(registry)
        self.engine_up = Gauge(
            "internvl3_engine_up",
            "1 while the process of an engine lives, 0 once it has died.",
            ("engine",),
            registry=registry,
        )
        self.cancelled = Counter(
            "internvl3_http_requests_cancelled", "Requests whose client went away.", registry=registry
        )

    def render(self) -> bytes:
        """Prometheus' text format."""
        return render([self._registry])


class MergedRegistries:
    """Registries that hold the same metrics under different labels, as one: the text format wants each name
    once.
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
    """Prometheus' text format of several registries."""
    return generate_latest(MergedRegistries(registries))
