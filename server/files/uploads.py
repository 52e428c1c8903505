"""Take a large file in parts, so that a client whose connection broke sends one part again and not all."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from server.access.principal import Principal
from server.database.connection import Database
from server.database.file_rows import FileRow, add_file, find_file, stored_bytes
from server.database.upload_rows import (
    CANCELLED,
    COMPLETED,
    PENDING,
    PartRow,
    UploadRow,
    add_part,
    add_upload,
    end_upload,
    find_upload,
    parts_of,
)
from server.errors import ApiError
from server.protocol.upload_fields import CompletionFields, UploadFields, parse_fields

from .arrival import Arrival, Arrivals, over_quota, too_large
from .content_folder import ContentFolder, stored
from .store import plain_name

PART_BYTES = 64 * 2**20  # of one part, as OpenAI allows
UPLOAD_SECONDS = 3600.0  # until an upload expires
BLOCK = 2**20


class Uploads:
    """The uploads of one server, or of several servers that share a database and a folder."""

    def __init__(self, database: Database, folder: ContentFolder, arrivals: Arrivals) -> None:
        self._database = database
        self._folder = folder
        self._arrivals = arrivals

    async def create(self, principal: Principal, body: Mapping[str, Any]) -> UploadRow:
        """Return a new upload, which waits for its parts. Raises ApiError for a wrong field."""
        fields = parse_fields(UploadFields, body)
        settings = principal.settings
        if fields.bytes > settings.max_file_bytes:
            raise too_large(settings.max_file_bytes)
        async with self._database.transaction() as connection:
            if await stored_bytes(connection, principal.name) + fields.bytes > settings.max_stored_bytes:
                raise over_quota(settings.max_stored_bytes)
            now = await self._database.now(connection)
            row = UploadRow(
                id=f"upload_{secrets.token_hex(16)}",
                owner=principal.name,
                filename=plain_name(fields.filename),
                purpose=fields.purpose,
                content_type=fields.mime_type.replace("\0", ""),
                bytes=fields.bytes,
                lifetime=None if fields.expires_after is None else fields.expires_after.seconds,
                status=PENDING,
                created_at=now,
                expires_at=now + UPLOAD_SECONDS,
            )
            await add_upload(connection, row)
        return row

    def receiving(self, principal: Principal) -> AbstractAsyncContextManager[Arrival]:
        """Yield what takes the content of a part. Without a call of `keep`, nothing stays."""
        return self._arrivals.receiving(principal, f"part_{secrets.token_hex(16)}", PART_BYTES)

    async def check_pending(self, principal: Principal, upload_id: str) -> None:
        """Raise ApiError if an upload takes no parts: 404 if there is none, 409 if it has ended."""
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            _pending(await find_upload(connection, principal.name, upload_id, now))

    async def keep(self, arrival: Arrival, upload_id: str) -> PartRow:
        """Make a part durable, and return it.

        Raises ApiError: 404 or 409 if the upload takes no parts any more, 413 if the quota is used up.
        """
        if not arrival.size:
            raise ApiError("data: the part is empty.", param="data")
        await arrival.keep()
        principal = arrival.principal
        quota = principal.settings.max_stored_bytes
        try:
            async with self._database.transaction() as connection:
                await self._database.lock(connection, f"files of {principal.name}")
                now = await self._database.now(connection)
                upload = _pending(await find_upload(connection, principal.name, upload_id, now))
                if await stored_bytes(connection, principal.name) + arrival.size > quota:
                    raise over_quota(quota)
                row = PartRow(
                    id=arrival.content_id,
                    upload_id=upload.id,
                    owner=principal.name,
                    bytes=arrival.size,
                    created_at=now,
                )
                await add_part(connection, row)
        except ApiError as error:
            if error.status < 500:  # after another error the row may be there
                await asyncio.to_thread(self._folder.remove, arrival.content_id)
            raise
        return row

    async def complete(
        self, principal: Principal, upload_id: str, body: Mapping[str, Any]
    ) -> tuple[UploadRow, FileRow | None]:
        """Make a file of the parts that the body names, and return the upload and the file.

        A completed upload is returned again, so that a client whose connection broke may repeat the request;
        its file is None if it was deleted since.

        Raises ApiError: 404 if there is no such upload, 409 if it was cancelled or has expired, 400 if the
        parts aren't the file that was announced.
        """
        fields = parse_fields(CompletionFields, body)
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            found = await find_upload(connection, principal.name, upload_id, now)
            if found is not None and found.status == COMPLETED:
                return found, await find_file(connection, principal.name, str(found.file_id), now)
            upload = _pending(found)
            parts = {part.id: part for part in await parts_of(connection, upload.id)}
        _check_parts(upload, fields.part_ids, parts)
        file_id = f"file-{secrets.token_hex(16)}"
        async with self._folder.writing(file_id) as writer:
            digest = hashlib.md5(usedforsecurity=False)
            for part_id in fields.part_ids:
                with stored():
                    part = await asyncio.to_thread((await self._folder.local(part_id)).open, "rb")
                with part:
                    while block := await asyncio.to_thread(part.read, BLOCK):
                        await asyncio.to_thread(digest.update, block)
                        await writer.write(block)
            if fields.md5 is not None and fields.md5.lower() != digest.hexdigest():
                raise ApiError(
                    "md5: the parts have another MD5 sum in this order.",
                    param="md5",
                    code="checksum_mismatch",
                )
            await writer.keep()
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            upload = _pending(await find_upload(connection, principal.name, upload_id, now))
            row = FileRow(
                id=file_id,
                owner=upload.owner,
                filename=upload.filename,
                purpose=upload.purpose,
                content_type=upload.content_type,
                bytes=upload.bytes,
                created_at=now,
                expires_at=None if upload.lifetime is None else now + upload.lifetime,
            )
            await add_file(connection, row)
            await end_upload(connection, upload.id, COMPLETED, file_id)
            ended = await find_upload(connection, principal.name, upload_id, now)
        assert ended is not None
        await self._remove(parts)
        return ended, row

    async def cancel(self, principal: Principal, upload_id: str) -> UploadRow:
        """End an upload without a file, and return it.

        Raises ApiError: 404 if there is no such upload, 409 if it has ended otherwise.
        """
        async with self._database.transaction() as connection:
            now = await self._database.now(connection)
            upload = await find_upload(connection, principal.name, upload_id, now)
            if upload is None or upload.status != CANCELLED:
                upload = _pending(upload)
            parts = {part.id: part for part in await parts_of(connection, upload.id)}
            await end_upload(connection, upload.id, CANCELLED)
            ended = await find_upload(connection, principal.name, upload_id, now)
        assert ended is not None
        await self._remove(parts)
        return ended

    async def _remove(self, parts: Mapping[str, PartRow]) -> None:
        for part_id in parts:
            await asyncio.to_thread(self._folder.remove, part_id)


def _pending(upload: UploadRow | None) -> UploadRow:
    """Return an upload that takes parts. Raises ApiError (404 or 409) if it isn't one."""
    if upload is None:
        raise ApiError(
            "There is no such upload, or it belongs to another API key.",
            status=404,
            param="upload_id",
            code="upload_not_found",
        )
    if upload.status != PENDING:
        raise ApiError(
            f"The upload has the status `{upload.status}`. Create a new one.",
            status=409,
            param="upload_id",
            code="upload_not_pending",
        )
    return upload


def _check_parts(upload: UploadRow, part_ids: Sequence[str], parts: Mapping[str, PartRow]) -> None:
    if len(set(part_ids)) < len(part_ids):
        raise ApiError("part_ids: a part stands there twice.", param="part_ids")
    unknown = next((part_id for part_id in part_ids if part_id not in parts), None)
    if unknown is not None:
        raise ApiError(f"part_ids: the upload has no part `{unknown[:100]}`.", param="part_ids")
    size = sum(parts[part_id].bytes for part_id in part_ids)
    if size != upload.bytes:
        raise ApiError(
            f"part_ids: the parts have {size} bytes together, but the upload was announced with "
            f"{upload.bytes}.",
            param="part_ids",
        )
