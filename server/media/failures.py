"""Why an image or video could not be fetched or read: for the client, the log and the metrics."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import ApiError
from server.telemetry.metrics import Metrics

logger = logging.getLogger("internvl3.media")

# The values of the metric's label `reason`. All errors of a fetch that depend on the host's network have one
# message for the client, so that nobody can use the server to look for hosts and ports.
REASONS = (
    "url",  # no data: URL and no plain http(s) URL
    "host",  # its host has no public address
    "port",  # its port isn't allowed
    "network",  # no connection, or it broke off
    "timeout",
    "status",  # the host answered with another status than 200
    "redirects",
    "compressed",
    "base64",
    "too_large",
    "invalid",  # it can't be decoded within the limits
    "limit",  # the request has too much of something
    "storage",  # the server has no room for a temporary file
)


class MediaError(ApiError):
    """An image or video failed for one of REASONS; `detail` is for the log only."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        param: str,
        code: str | None = None,
        status: int = 400,
        detail: str = "",
    ) -> None:
        super().__init__(message, status=status, param=param, code=code)
        self.reason = reason
        self.detail = detail


@contextmanager
def counted_failures(kind: str, metrics: Metrics) -> Iterator[None]:
    """Count and log an ApiError of the block, which passes through; `kind` is "image" or "video"."""
    try:
        yield
    except ApiError as error:
        reason = error.reason if isinstance(error, MediaError) else "limit"
        detail = error.detail if isinstance(error, MediaError) else ""
        level = logging.INFO if error.status < 500 else logging.WARNING
        metrics.media_failures.labels(kind, reason).inc()
        logger.log(level, "%s failed (%s): %s", kind, reason, detail or error.message)
        raise
