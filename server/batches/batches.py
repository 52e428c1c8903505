"""What clients do with batches: create, look at, list and cancel them."""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from server.access.principal import Principal
from server.database.batch_rows import (
    CANCELLED,
    CANCELLING,
    BatchRow,
    add_batch,
    batch_page,
    end_early,
    find_batch,
    unfinished_batches,
)
from server.database.file_rows import stored_bytes
from server.database.pages import PageRequest
from server.errors import ApiError
from server.files.arrival import over_quota
from server.files.purposes import BATCH
from server.files.storage import Storage
from server.protocol.batch_fields import WINDOW_SECONDS, parse_batch


class Batches:
    """The batches of one server, or of several servers that share a database."""

    def __init__(self, storage: Storage, wake: Callable[[], None]) -> None:
        """`wake` tells the worker that there may be something to do."""
        self._database = storage.database
        self._files = storage.files
        self._wake = wake

    async def create(self, principal: Principal, body: Mapping[str, Any]) -> BatchRow:
        """Return a new batch, which a worker will validate. Raises ApiError for a wrong field."""
        fields = parse_batch(body)
        file = await self._files.find(principal, fields.input_file_id, param="input_file_id", status=400)
        if file.purpose != BATCH:
            raise ApiError(
                f"input_file_id: the purpose of this file is {file.purpose}. Upload it with the purpose "
                f"{BATCH}.",
                param="input_file_id",
            )
        most, quota = principal.settings.max_batches, principal.settings.max_stored_bytes
        lifetime = fields.output_expires_after
        async with self._database.transaction() as connection:
            await self._database.lock(connection, f"batches of {principal.name}")
            if await unfinished_batches(connection, principal.name) >= most:
                raise ApiError(
                    f"This API key may have {most} unfinished batches. Retry when one has ended.",
                    status=429,
                    code="too_many_batches",
                    kind="requests",
                    retry_after=60,
                )
            if await stored_bytes(connection, principal.name) >= quota:  # its results would come on top
                raise over_quota(quota)
            now = await self._database.now(connection)
            row = BatchRow(
                id=f"batch_{secrets.token_hex(16)}",
                owner=principal.name,
                endpoint=fields.endpoint,
                input_file_id=fields.input_file_id,
                completion_window=fields.completion_window,
                metadata=None if fields.metadata is None else json.dumps(fields.metadata),
                output_lifetime=None if lifetime is None else lifetime.seconds,
                created_at=now,
                expires_at=now + WINDOW_SECONDS,
            )
            await add_batch(connection, row)
        self._wake()
        return row

    async def retrieve(self, principal: Principal, batch_id: str) -> BatchRow:
        """Return a batch of a principal. Raises ApiError (404) if there is none."""
        async with self._database.transaction() as connection:
            row = await find_batch(connection, principal.name, batch_id)
        if row is None:
            raise ApiError(
                f"There is no batch `{batch_id[:100]}`, or it belongs to another API key.",
                status=404,
                param="batch_id",
                code="batch_not_found",
            )
        return row

    async def list_batches(self, principal: Principal, page: PageRequest) -> tuple[list[BatchRow], bool]:
        """Return a page of a principal's batches, and whether more follow."""
        async with self._database.transaction() as connection:
            return await batch_page(connection, principal.name, page)

    async def cancel(self, principal: Principal, batch_id: str) -> BatchRow:
        """Begin no more lines of a batch, and return it. Its running lines end first.

        Raises ApiError: 404 if there is no such batch, 409 if it has ended.
        """
        await self.retrieve(principal, batch_id)
        async with self._database.transaction() as connection:
            await end_early(
                connection, principal.name, batch_id, CANCELLED, await self._database.now(connection)
            )
        row = await self.retrieve(principal, batch_id)
        if row.status not in (CANCELLING, CANCELLED):
            raise ApiError(
                f"A batch with the status `{row.status}` can't be cancelled.",
                status=409,
                code="batch_not_cancellable",
            )
        self._wake()
        return row


def batch_object(row: BatchRow) -> dict[str, Any]:
    """Return OpenAI's batch object."""
    times = (
        "in_progress",
        "expires",
        "finalizing",
        "completed",
        "failed",
        "expired",
        "cancelling",
        "cancelled",
    )
    errors = None if row.errors is None else {"object": "list", "data": json.loads(row.errors)}
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "errors": errors,
        "input_file_id": row.input_file_id,
        "completion_window": row.completion_window,
        "status": row.status,
        "output_file_id": row.output_file_id,
        "error_file_id": row.error_file_id,
        "created_at": int(row.created_at),
        **{f"{name}_at": _whole(getattr(row, f"{name}_at")) for name in times},
        "request_counts": {"total": row.total, "completed": row.completed, "failed": row.failed},
        "metadata": None if row.metadata is None else json.loads(row.metadata),
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
