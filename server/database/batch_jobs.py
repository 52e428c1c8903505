"""Let one server at a time validate a batch or write its results, by a lease that it renews."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .batch_rows import (
    CANCELLING,
    EXPIRED,
    FAILED,
    FINALIZING,
    IN_PROGRESS,
    VALIDATING,
    BatchRow,
    batch_of,
)
from .tables import BATCHES, LINES

ROWS = 1000  # that one statement inserts


async def expire_batches(connection: AsyncConnection, now: float) -> None:
    """Begin no more lines of the batches whose time is over."""
    query = update(BATCHES).where(
        BATCHES.c.status.in_((VALIDATING, IN_PROGRESS)), BATCHES.c.expires_at <= now
    )
    values = {"status": FINALIZING, "ending": EXPIRED, "finalizing_at": now}
    await connection.execute(query.values(**values, lease_holder=None, lease_until=None))


async def claim_job(connection: AsyncConnection, holder: str, now: float, seconds: float) -> BatchRow | None:
    """Return a batch that `holder` has to validate or to finish, with a lease; None if there is none.

    A batch is finished only when no server answers a line of it any more.
    """
    in_flight = exists().where(
        LINES.c.batch_id == BATCHES.c.id, LINES.c.outcome.is_(None), LINES.c.lease_until > now
    )
    query = (
        select(BATCHES)
        .where(
            is_free(BATCHES, now),
            or_(
                BATCHES.c.status == VALIDATING,
                and_(BATCHES.c.status.in_((FINALIZING, CANCELLING)), ~in_flight),
            ),
        )
        .order_by(BATCHES.c.created_at)
        .limit(1)
        .with_for_update(skip_locked=True, of=BATCHES)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    await connection.execute(
        update(BATCHES).where(BATCHES.c.id == row.id).values(lease_holder=holder, lease_until=now + seconds)
    )
    return batch_of(row)


async def begin_lines(
    connection: AsyncConnection, batch: BatchRow, holder: str, lines: Sequence[Mapping[str, Any]], now: float
) -> bool:
    """Insert the lines of a valid batch and begin it. Return False if the lease is lost.

    Each line has the columns `number`, `custom_id`, `start` and `length`.
    """
    if not await _holds(connection, batch, holder, VALIDATING):
        return False
    for begin in range(0, len(lines), ROWS):
        some = lines[begin : begin + ROWS]
        rows = [{**line, "batch_id": batch.id, "attempts": 0, "not_before": 0.0} for line in some]
        await connection.execute(insert(LINES), rows)
    values = {"status": IN_PROGRESS, "in_progress_at": now, "total": len(lines)}
    await _give_back(connection, batch, values)
    return True


async def refuse_batch(
    connection: AsyncConnection, batch: BatchRow, holder: str, errors: str, now: float
) -> None:
    """End an invalid batch. `errors` is the JSON of what its client reads about it."""
    if await _holds(connection, batch, holder, VALIDATING):
        await _give_back(connection, batch, {"status": FAILED, "failed_at": now, "errors": errors})


async def close_lines(connection: AsyncConnection, batch: BatchRow, holder: str) -> int | None:
    """Give the lines that nobody has finished the outcome of their batch, so that no result comes any more.

    Return their number, or None if the lease is lost.
    """
    if not await _holds(connection, batch, holder, batch.status):
        return None
    query = update(LINES).where(LINES.c.batch_id == batch.id, LINES.c.outcome.is_(None))
    closed = (await connection.execute(query.values(outcome=batch.ending, lease_holder=None))).rowcount
    await connection.execute(
        update(BATCHES).where(BATCHES.c.id == batch.id).values(failed=BATCHES.c.failed + closed)
    )
    return int(closed)


async def finish_batch(
    connection: AsyncConnection,
    batch: BatchRow,
    holder: str,
    *,
    output_file_id: str | None,
    error_file_id: str | None,
    now: float,
) -> bool:
    """End a batch whose results are in files, and delete its lines. Return False if the lease is lost."""
    if not await _holds(connection, batch, holder, batch.status):
        return False
    await connection.execute(delete(LINES).where(LINES.c.batch_id == batch.id))
    values = {"output_file_id": output_file_id, "error_file_id": error_file_id}
    await _give_back(connection, batch, {**values, "status": batch.ending, f"{batch.ending}_at": now})
    return True


async def renew_jobs(connection: AsyncConnection, holder: str, until: float) -> Sequence[str]:
    """Prolong all leases of a holder on batches, and return the batches that it still has."""
    query = update(BATCHES).where(BATCHES.c.lease_holder == holder).values(lease_until=until)
    return list((await connection.scalars(query.returning(BATCHES.c.id))).all())


async def release_jobs(connection: AsyncConnection, holder: str | None) -> None:
    """End all leases of a holder on batches, or all that there are if it is None."""
    query = update(BATCHES).values(lease_holder=None, lease_until=None)
    mine = BATCHES.c.lease_holder.is_not(None) if holder is None else BATCHES.c.lease_holder == holder
    await connection.execute(query.where(mine))


def is_free(table: Any, now: float) -> ColumnElement[bool]:
    """Return the condition that nobody has a lease on a row."""
    return or_(table.c.lease_until.is_(None), table.c.lease_until <= now)


async def _holds(connection: AsyncConnection, batch: BatchRow, holder: str, status: str) -> bool:
    """Return whether a holder has a batch, and keep the row as it is until the transaction ends."""
    query = select(BATCHES.c.id).where(
        BATCHES.c.id == batch.id, BATCHES.c.lease_holder == holder, BATCHES.c.status == status
    )
    return await connection.scalar(query.with_for_update()) is not None


async def _give_back(connection: AsyncConnection, batch: BatchRow, values: dict[str, Any]) -> None:
    query = update(BATCHES).where(BATCHES.c.id == batch.id)
    await connection.execute(query.values(**values, lease_holder=None, lease_until=None))
