"""Write and read what the database knows of each batch, for its client."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .pages import ID, PageRequest, owned_by, read_page
from .tables import BATCHES

VALIDATING, IN_PROGRESS, FINALIZING, CANCELLING = "validating", "in_progress", "finalizing", "cancelling"
COMPLETED, FAILED, EXPIRED, CANCELLED = "completed", "failed", "expired", "cancelled"
UNFINISHED = (VALIDATING, IN_PROGRESS, FINALIZING, CANCELLING)


@dataclass(frozen=True, kw_only=True)
class BatchRow:
    """One batch. Times are Unix seconds, and None as long as the batch has not come so far."""

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: float
    expires_at: float
    metadata: str | None = None  # JSON
    output_lifetime: int | None = None  # seconds until the files with results expire
    status: str = VALIDATING
    ending: str | None = None  # the status that finalizing or cancelling leads to
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: str | None = None  # JSON
    total: int = 0
    completed: int = 0
    failed: int = 0
    lease_holder: str | None = None
    lease_until: float | None = None


async def add_batch(connection: AsyncConnection, row: BatchRow) -> None:
    """Insert a batch."""
    await connection.execute(insert(BATCHES).values(**asdict(row)))


async def find_batch(connection: AsyncConnection, owner: str, batch_id: str) -> BatchRow | None:
    """Return a batch of an owner, or None if there is none."""
    if not ID.fullmatch(batch_id):
        return None
    query = owned_by(BATCHES, owner).where(BATCHES.c.id == batch_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else batch_of(row)


async def batch_page(
    connection: AsyncConnection, owner: str, page: PageRequest
) -> tuple[list[BatchRow], bool]:
    """Return a page of an owner's batches, and whether more follow."""
    rows, has_more = await read_page(connection, BATCHES, owned_by(BATCHES, owner), page)
    return [batch_of(row) for row in rows], has_more


async def unfinished_batches(connection: AsyncConnection, owner: str) -> int:
    """Return the number of an owner's batches that have not ended."""
    query = select(func.count()).where(BATCHES.c.owner == owner, BATCHES.c.status.in_(UNFINISHED))
    return int(await connection.scalar(query) or 0)


async def reader_of(connection: AsyncConnection, file_id: str) -> str | None:
    """Return a batch that still reads a file, or None."""
    query = select(BATCHES.c.id).where(BATCHES.c.input_file_id == file_id, BATCHES.c.status.in_(UNFINISHED))
    found: str | None = await connection.scalar(query.limit(1))
    return found


async def end_early(
    connection: AsyncConnection,
    owner: str,
    batch_id: str,
    ending: str,
    now: float,
    errors: str | None = None,
) -> bool:
    """Begin no more lines of a batch, so that it ends with the status `ending`.

    Return whether it still ran. `errors` is the JSON of what its client reads about the reason.
    """
    status = CANCELLING if ending == CANCELLED else FINALIZING
    query = update(BATCHES).where(
        BATCHES.c.owner == owner,
        BATCHES.c.id == batch_id,
        BATCHES.c.status.in_((VALIDATING, IN_PROGRESS)),
    )
    values = {"status": status, "ending": ending, f"{status}_at": now, "errors": errors}
    # Whoever validates the batch has lost it.
    result = await connection.execute(query.values(**values, lease_holder=None, lease_until=None))
    return result.rowcount > 0


def batch_of(row: Any) -> BatchRow:
    """Return the batch of a row of its table."""
    return BatchRow(**row._mapping)
