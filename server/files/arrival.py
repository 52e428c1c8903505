"""Take contents that clients are sending, within the limits of their keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.access.principal import Principal
from server.database.connection import Database
from server.database.file_rows import stored_bytes
from server.errors import ApiError

from .content_folder import ContentFolder, ContentWriter

OVER_QUOTA = "storage_quota_exceeded"


class Arrivals:
    """The contents that one server receives now."""

    def __init__(self, database: Database, folder: ContentFolder) -> None:
        self._database = database
        self._folder = folder
        self._incoming: dict[str, int] = {}  # bytes by owner

    @asynccontextmanager
    async def receiving(self, principal: Principal, content_id: str, limit: int) -> AsyncIterator["Arrival"]:
        """Yield what takes a content of `limit` bytes at most. Nothing stays without a call of `keep`."""
        async with self._database.transaction() as connection:
            stored = await stored_bytes(connection, principal.name)
        async with self._folder.writing(content_id) as writer:
            arrival = Arrival(self, principal, content_id, writer, stored, limit)
            try:
                yield arrival
            finally:
                self.count(principal.name, -writer.size)

    def count(self, owner: str, count: int) -> int:
        """Count bytes that are arriving for an owner, and return their sum now."""
        total = self._incoming.get(owner, 0) + count
        if total:
            self._incoming[owner] = total
        else:
            self._incoming.pop(owner, None)
        return total


class Arrival:
    """A content on its way into the folder."""

    def __init__(
        self,
        arrivals: Arrivals,
        principal: Principal,
        content_id: str,
        writer: ContentWriter,
        stored: int,
        limit: int,
    ) -> None:
        self.principal = principal
        self.content_id = content_id
        self._arrivals = arrivals
        self._writer = writer
        self._stored = stored  # bytes of the owner's other contents
        self._limit = limit

    @property
    def size(self) -> int:
        """The bytes that have arrived."""
        return self._writer.size

    async def write(self, piece: bytes) -> None:
        """Append bytes. Raises ApiError: 413 beyond a limit of the key, 503 if the disk is full."""
        if self._writer.size + len(piece) > self._limit:
            raise too_large(self._limit)
        owner, quota = self.principal.name, self.principal.settings.max_stored_bytes
        if self._stored + self._arrivals.count(owner, len(piece)) > quota:
            self._arrivals.count(owner, -len(piece))
            raise over_quota(quota)
        await self._writer.write(piece)

    async def keep(self) -> None:
        """Make the content durable and put it in its place."""
        await self._writer.keep()


def too_large(limit: int) -> ApiError:
    """Return the error for a file or a part that is larger than it may be."""
    return ApiError(
        f"The file or part is larger than {limit} bytes. Split it.",
        status=413,
        param="file",
        code="file_too_large",
    )


def over_quota(limit: int) -> ApiError:
    """Return the error for a content that doesn't fit what its API key may store."""
    return ApiError(
        f"The files of this API key may take {limit} bytes together. Delete some of them first.",
        status=413,
        param="file",
        code=OVER_QUOTA,
    )
