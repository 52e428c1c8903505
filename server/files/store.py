"""Keep the files of all API keys: contents in a folder, and the rest in the database.

A file belongs to the key that has uploaded it. For every other key it isn't there.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from server.access.principal import Principal
from server.database.batch_rows import reader_of
from server.database.connection import Database
from server.database.file_rows import (
    FileRow,
    add_file,
    file_page,
    find_file,
    known_files,
    remove_expired_files,
    remove_file,
    stored_bytes,
)
from server.database.pages import ID, PageRequest
from server.errors import ApiError

from .content_folder import ContentFolder, ContentWriter

OVER_QUOTA = "storage_quota_exceeded"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that can be read at `path`. `content_type` is what its client called it, which may be wrong."""

    row: FileRow
    path: Path

    @property
    def content_type(self) -> str | None:
        return self.row.content_type


class FileStore:
    """The files of one server, or of several servers that share a database and a folder."""

    def __init__(self, database: Database, folder: ContentFolder) -> None:
        self._database = database
        self._folder = folder
        self._incoming: dict[str, int] = {}  # bytes by owner that are being uploaded

    async def open(
        self, principal: Principal, file_id: str, *, param: str | None = "file_id", status: int = 404
    ) -> StoredFile:
        """Return a file of a principal. Its content is complete and never changes.

        Raises ApiError with `status`, `param` and the code `file_not_found` if it isn't there.
        """
        row = None
        async with self._database.transaction() as connection:
            if ID.fullmatch(file_id):
                row = await find_file(
                    connection, principal.name, file_id, await self._database.now(connection)
                )
        path = None if row is None else self._folder.path(row.id)
        if row is None or path is None or not await asyncio.to_thread(path.is_file):
            raise ApiError(
                f"There is no file `{file_id[:100]}`. It may have been deleted, or it belongs to another "
                "API key.",
                status=status,
                param=param,
                code="file_not_found",
            )
        return StoredFile(row=row, path=path)

    async def list_files(
        self, principal: Principal, page: PageRequest, purpose: str | None
    ) -> tuple[list[FileRow], bool]:
        """Return a page of a principal's files, and whether more follow."""
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            return await file_page(connection, principal.name, page, purpose, now)

    async def remove(self, principal: Principal, file_id: str) -> None:
        """Delete a file.

        Raises ApiError: 404 if the principal has no such file, 409 while a batch reads it.
        """
        file = await self.open(principal, file_id, param="file_id")
        async with self._database.transaction() as connection:
            reader = await reader_of(connection, file.row.id)
            if reader is not None:
                raise ApiError(
                    f"The batch {reader} still reads this file. Cancel it, or wait until it has ended.",
                    status=409,
                    param="file_id",
                    code="file_in_use",
                )
            await remove_file(connection, principal.name, file.row.id)
        await asyncio.to_thread(self._folder.remove, file.row.id)

    @asynccontextmanager
    async def receiving(self, principal: Principal) -> AsyncIterator["Arrival"]:
        """Yield what takes a new file of a principal. Without a call of its `keep`, nothing stays."""
        async with self._database.transaction() as connection:
            stored = await stored_bytes(connection, principal.name)
        file_id = f"file-{secrets.token_hex(16)}"
        async with self._folder.writing(file_id) as writer:
            arrival = Arrival(self, principal, file_id, writer, stored)
            try:
                yield arrival
            finally:
                self.count_incoming(principal.name, -writer.size)

    def count_incoming(self, owner: str, count: int) -> int:
        """Count bytes that are being uploaded by an owner, and return their sum now."""
        total = self._incoming.get(owner, 0) + count
        if total:
            self._incoming[owner] = total
        else:
            self._incoming.pop(owner, None)
        return total

    async def add(self, row: FileRow, limit: int, lifetime: int | None) -> FileRow:
        """Insert a file whose content is in its place, and return it with its times.

        Raises ApiError (413) if its owner then has more than `limit` bytes.
        """
        async with self._database.transaction() as connection:
            await self._database.lock(connection, f"files of {row.owner}")
            if await stored_bytes(connection, row.owner) + row.bytes > limit:
                raise over_quota(limit)
            now = await self._database.now(connection)
            times = {"created_at": now, "expires_at": None if lifetime is None else now + lifetime}
            row = FileRow(**{**row.__dict__, **times})
            await add_file(connection, row)
        return row

    async def discard(self, file_id: str) -> None:
        """Delete a content that has got no row."""
        await asyncio.to_thread(self._folder.remove, file_id)

    async def clean_up(self) -> None:
        """Delete expired files, and contents of more than a day ago that belong to no file."""
        async with self._database.transaction() as connection:
            expired = await remove_expired_files(connection, await self._database.now(connection))
        for file_id in expired:
            await asyncio.to_thread(self._folder.remove, file_id)
        old = await asyncio.to_thread(self._folder.old_contents)
        for begin in range(0, len(old), 500):
            ids = old[begin : begin + 500]
            async with self._database.transaction() as connection:
                known = await known_files(connection, ids)
            for file_id in set(ids) - known:
                await asyncio.to_thread(self._folder.remove, file_id)
        await asyncio.to_thread(self._folder.remove_unfinished)


class Arrival:
    """A file on its way into the store."""

    def __init__(
        self, store: FileStore, principal: Principal, file_id: str, writer: ContentWriter, stored: int
    ) -> None:
        self._store = store
        self._principal = principal
        self._id = file_id
        self._writer = writer
        self._stored = stored  # bytes of the owner's other files

    async def write(self, piece: bytes) -> None:
        """Append bytes. Raises ApiError: 413 beyond a limit of the key, 503 if the disk is full."""
        settings = self._principal.settings
        if self._writer.size + len(piece) > settings.max_file_bytes:
            raise ApiError(
                f"The file is larger than {settings.max_file_bytes} bytes. Split it.",
                status=413,
                param="file",
                code="file_too_large",
            )
        incoming = self._store.count_incoming(self._principal.name, len(piece))
        if self._stored + incoming > settings.max_stored_bytes:
            self._store.count_incoming(self._principal.name, -len(piece))
            raise over_quota(settings.max_stored_bytes)
        await self._writer.write(piece)

    async def keep(
        self, *, filename: str, purpose: str, content_type: str | None, lifetime: int | None
    ) -> FileRow:
        """Make the file durable, and return what is known of it. `lifetime` is in seconds, None for ever."""
        await self._writer.keep()
        row = FileRow(
            id=self._id,
            owner=self._principal.name,
            filename=os.path.basename(filename.replace("\\", "/").replace("\0", "")) or "file",
            purpose=purpose,
            content_type=None if content_type is None else content_type.replace("\0", ""),
            bytes=self._writer.size,
            created_at=0.0,
            expires_at=None,
        )
        try:
            return await self._store.add(row, self._principal.settings.max_stored_bytes, lifetime)
        except ApiError as error:
            if error.code == OVER_QUOTA:  # after another error the row may be there
                await self._store.discard(self._id)
            raise


def over_quota(limit: int) -> ApiError:
    """Return the error for a file that doesn't fit what its API key may store."""
    return ApiError(
        f"The files of this API key may take {limit} bytes together. Delete some of them first.",
        status=413,
        param="file",
        code=OVER_QUOTA,
    )
