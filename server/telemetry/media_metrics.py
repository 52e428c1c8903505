"""The Prometheus metrics of images and videos."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)


class MediaMetrics:
    """Counts what images and videos take. The label `kind` is "image" or "video"."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "internvl3_media_seconds",
            "Seconds to fetch, check and decode one image or video; images are fetched side by side.",
            ("kind",),
            buckets=SECONDS,
            registry=registry,
        )
        self.bytes = Counter(
            "internvl3_media_bytes",
            "Bytes of the images and videos that came with requests, were fetched for them, read from "
            "uploaded files, or sent by other servers.",
            ("kind",),
            registry=registry,
        )
        self.decodes = Counter(
            "internvl3_media_decodes",
            "Images and videos that were decoded, by kind.",
            ("kind",),
            registry=registry,
        )
        self.cache = Counter(
            "internvl3_video_cache",
            "Videos of all requests, by where their tiles came from: kept from an earlier request (hit), "
            "decoded (miss), or decoded for another request at the same time (shared).",
            ("outcome",),
            registry=registry,
        )
        self.cache_bytes = Gauge(
            "internvl3_video_cache_bytes", "Bytes of the tiles of videos that are kept.", registry=registry
        )
        self.videos = Counter("internvl3_videos", "Videos of all requests.", registry=registry)
        self.frames = Counter(
            "internvl3_video_frames", "Frames of the videos of all requests.", registry=registry
        )
        self.tiles = Counter(
            "internvl3_tiles",
            "Tiles of images and of frames, thumbnails included.",
            ("kind",),
            registry=registry,
        )
        self.failures = Counter(
            "internvl3_media_failures",
            "Requests that were refused for an image or video, by its kind, the error's code and the reason.",
            ("kind", "code", "reason"),
            registry=registry,
        )
