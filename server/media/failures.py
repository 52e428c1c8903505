"""Why an image or video could not be fetched or read: for the client, the log and the metrics."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from server.errors import ApiError
from server.telemetry.metrics import Metrics

logger = logging.getLogger("internvl3.media")

# The values of the metric's label `reason`, each with the client's code, in which KIND is image or video. All
# errors of a fetch that depend on the host's network have one message and one code for the client, so that
# nobody can use the server to look for hosts and ports.
CODES = {
    "url": "invalid_KIND_url",  # no data: URL and no plain http(s) URL
    "host": "KIND_host_not_allowed",  # its host has no public address
    "port": "KIND_port_not_allowed",
    "network": "invalid_KIND_url",  # no connection, or it broke off
    "timeout": "invalid_KIND_url",
    "status": "invalid_KIND_url",  # the host answered with another status than 200
    "redirects": "invalid_KIND_url",
    "compressed": "invalid_KIND_url",
    "base64": "invalid_base64_KIND",
    "too_large": "KIND_too_large",
    "invalid": "invalid_KIND",  # it can't be decoded within the limits
    "storage": "server_busy",  # the server has no room for a temporary file
}
LIMIT = "limit"  # the reason if the request, or all requests together, have too much of something


class MediaError(ApiError):
    """An image or video failed for a reason of `CODES`; `detail` is for the log only."""

    def __init__(
        self, message: str, *, kind: str, reason: str, param: str, status: int = 400, detail: str = ""
    ) -> None:
        """`kind` is "image" or "video"."""
        super().__init__(message, status=status, param=param, code=CODES[reason].replace("KIND", kind))
        self.reason = reason
        self.detail = detail


@contextmanager
def counted_failures(kind: str, metrics: Metrics) -> Iterator[None]:
    """Count and log an ApiError of the block, which passes through; `kind` is "image" or "video"."""
    try:
        yield
    except ApiError as error:
        reason = error.reason if isinstance(error, MediaError) else LIMIT
        detail = error.detail if isinstance(error, MediaError) else ""
        level = logging.INFO if error.status < 500 else logging.WARNING
        metrics.media.failures.labels(kind, error.code, reason).inc()
        logger.log(level, "%s failed (%s): %s", kind, reason, detail or error.message)
        raise
