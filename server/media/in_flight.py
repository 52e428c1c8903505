"""The memory that the bodies and media of all running requests may take together."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from server.errors import ApiError

MIB = 2**20


class BytesInFlight:
    """Counts the bytes that running requests hold, against one limit for the server."""

    def __init__(self, limit_mib: int, *, request_mib: int | None = None) -> None:
        """`request_mib` is the limit of one request, or None if it may hold as much as all together."""
        self._limit = limit_mib * MIB
        self._request_mib = request_mib
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
                held.is_closed = True

    def take(self, held: "HeldBytes", count: int) -> None:
        """Count more bytes for a request; raises as `HeldBytes.take`."""
        with self._lock:
            if held.is_closed:  # a thread goes on decoding after its request has ended
                raise RequestOver
            if self._request_mib is not None and held.count + count > self._request_mib * MIB:
                raise ApiError(
                    f"Body and media of the request take more than {self._request_mib} MiB of memory. "
                    "Send fewer or smaller images or videos.",
                    status=413,
                    code="request_too_large",
                )
            if self.used + count <= self._limit:
                self.used += count
                held.count += count
                return
        raise ApiError(
            "The server holds as much of other requests as its memory allows. Retry in a few seconds.",
            status=503,
            code="server_busy",
        )


class RequestOver(Exception):
    """The request has ended, so that it can hold nothing more."""


class HeldBytes:
    """The bytes of its body and its media that one request holds until it ends."""

    def __init__(self, server: BytesInFlight) -> None:
        self._server = server
        self.count = 0
        self.is_closed = False

    def take(self, count: int) -> None:
        """Count more bytes for this request.

        Raises:
            ApiError: 413 if the request would then hold more than it may, 503 if the server has no room.
            RequestOver: the request has ended.
        """
        self._server.take(self, count)
