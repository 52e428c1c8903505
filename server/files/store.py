"""Keep the files of all API keys: contents in a folder, and the rest in the database.

A file belongs to the key that has uploaded it. For every other key it isn't there.
"""

import asyncio
import os
import secrets
from contextlib import AbstractAsyncContextManager
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
from server.database.pages import PageRequest
from server.database.upload_rows import known_parts, remove_old_uploads
from server.errors import ApiError

from .arrival import OVER_QUOTA, Arrival, Arrivals, over_quota
from .content_folder import ContentFolder, stored


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
        self.arrivals = Arrivals(database, folder)

    async def find(
        self, principal: Principal, file_id: str, *, param: str | None = "file_id", status: int = 404
    ) -> FileRow:
        """Return what is known of a file of a principal.

        Raises ApiError with `status`, `param` and the code `file_not_found` if it isn't there.
        """
        async with self._database.transaction() as connection:
            row = await find_file(connection, principal.name, file_id, await self._database.now(connection))
        if row is None:
            raise _not_found(file_id, param, status)
        return row

    async def open(
        self, principal: Principal, file_id: str, *, param: str | None = "file_id", status: int = 404
    ) -> StoredFile:
        """Return a file of a principal, which can be read. Its content is complete and never changes.

        Raises ApiError: that of `find`, and 503 if the storage of contents fails.
        """
        row = await self.find(principal, file_id, param=param, status=status)
        with stored():
            path = await self._folder.local(row.id)
        if not await asyncio.to_thread(path.is_file):
            raise _not_found(file_id, param, status)
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
        row = await self.find(principal, file_id, param="file_id")
        async with self._database.transaction() as connection:
            reader = await reader_of(connection, row.id)
            if reader is not None:
                raise ApiError(
                    f"The batch {reader} still reads this file. Cancel it, or wait until it has ended.",
                    status=409,
                    param="file_id",
                    code="file_in_use",
                )
            await remove_file(connection, principal.name, row.id)
        await asyncio.to_thread(self._folder.remove, row.id)

    def receiving(self, principal: Principal) -> AbstractAsyncContextManager[Arrival]:
        """Yield what takes the content of a new file. Without a call of `keep`, nothing stays."""
        limit = principal.settings.max_file_bytes
        return self.arrivals.receiving(principal, f"file-{secrets.token_hex(16)}", limit)

    async def keep(
        self, arrival: Arrival, *, filename: str, purpose: str, content_type: str | None, lifetime: int | None
    ) -> FileRow:
        """Make a file durable, and return what is known of it. `lifetime` is in seconds, None for ever.

        Raises ApiError (413) if its owner then has more bytes than the key may store.
        """
        await arrival.keep()
        owner, limit = arrival.principal.name, arrival.principal.settings.max_stored_bytes
        try:
            async with self._database.transaction() as connection:
                await self._database.lock(connection, f"files of {owner}")
                if await stored_bytes(connection, owner) + arrival.size > limit:
                    raise over_quota(limit)
                now = await self._database.now(connection)
                row = FileRow(
                    id=arrival.content_id,
                    owner=owner,
                    filename=plain_name(filename),
                    purpose=purpose,
                    content_type=None if content_type is None else content_type.replace("\0", ""),
                    bytes=arrival.size,
                    created_at=now,
                    expires_at=None if lifetime is None else now + lifetime,
                )
                await add_file(connection, row)
        except ApiError as error:
            if error.code == OVER_QUOTA:  # after another error the row may be there
                await asyncio.to_thread(self._folder.remove, arrival.content_id)
            raise
        return row

    async def clean_up(self) -> None:
        """Delete expired files and uploads, and contents of more than a day ago that belong to nothing."""
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            parts = await remove_old_uploads(connection, now)
            expired = await remove_expired_files(connection, now)
        for content_id in (*parts, *expired):
            await asyncio.to_thread(self._folder.remove, content_id)
        kept = await asyncio.to_thread(self._folder.ids)
        for begin in range(0, len(kept), 500):
            ids = kept[begin : begin + 500]
            async with self._database.transaction() as connection:
                known = await known_files(connection, ids) | await known_parts(connection, ids)
            for file_id in set(ids) - known:
                await asyncio.to_thread(self._folder.remove_if_old, file_id)
        await asyncio.to_thread(self._folder.remove_unfinished)


def _not_found(file_id: str, param: str | None, status: int) -> ApiError:
    return ApiError(
        f"There is no file `{file_id[:100]}`. It may have been deleted, or it belongs to another API key.",
        status=status,
        param=param,
        code="file_not_found",
    )


def plain_name(filename: str) -> str:
    """Return the last part of a name that a client has sent, without what a database can't keep."""
    return os.path.basename(filename.replace("\\", "/").replace("\0", "")) or "file"
