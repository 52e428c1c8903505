"""The memory that the bodies and media of all running requests may take together."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from server.errors import ApiError

MIB = 2**20


class BytesInFlight:
    """Counts the bytes that running requests hold, against one limit for the server."""

    def __init__(self, limit_mib: int) -> None:
        self._limit = limit_mib * MIB
        self._lock = Lock()  # data: URLs are decoded in threads
        self.used = 0

    @contextmanager
    def request(self) -> Iterator["HeldBytes"]:
        """Yield the account of one request; its bytes are free again at the end of the block."""
        held = HeldBytes(self)
        try:
            yield held
        finally:
            with self._lock:
                self.used -= held.count
                held.count = 0

    def take(self, count: int) -> None:
        """Count more bytes. Raises ApiError (503) if the server would then hold more than its limit."""
        with self._lock:
            if self.used + count <= self._limit:
                self.used += count
                return
        raise ApiError(
            "The server holds as much of other requests as its memory allows. Retry in a few seconds.",
            status=503,
            code="server_busy",
        )


class HeldBytes:
    """The bytes of its body and its media that one request holds until it ends."""

    def __init__(self, server: BytesInFlight) -> None:
        self._server = server
        self.count = 0

    def take(self, count: int) -> None:
        """Count more bytes for this request; raises ApiError (503) if the server has no room for them."""
        self._server.take(count)
        self.count += count
