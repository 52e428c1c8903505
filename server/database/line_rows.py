"""Let each line of a batch be answered by one server at a time, and keep its result with the count."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from .batch_jobs import is_free
from .batch_rows import COMPLETED, FINALIZING, IN_PROGRESS
from .tables import BATCHES, LINES


@dataclass(frozen=True, kw_only=True)
class ActiveBatch:
    """A batch whose lines are answered."""

    id: str
    owner: str
    endpoint: str
    input_file_id: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line that a server has to answer: its place in the file, and how often it was begun."""

    batch: ActiveBatch
    number: int
    custom_id: str
    start: int
    length: int
    attempts: int

    @property
    def key(self) -> tuple[str, int]:
        return self.batch.id, self.number


@dataclass(frozen=True, kw_only=True)
class Result:
    """A line that has ended. `record` is None if it never began to be answered."""

    number: int
    custom_id: str
    outcome: str
    record: str | None


async def active_batches(connection: AsyncConnection, now: float) -> Sequence[ActiveBatch]:
    """Return the batches with lines that could be begun now, oldest first."""
    waiting = select(LINES.c.number).where(
        LINES.c.batch_id == BATCHES.c.id,
        LINES.c.outcome.is_(None),
        LINES.c.not_before <= now,
        is_free(LINES, now),
    )
    query = (
        select(BATCHES.c.id, BATCHES.c.owner, BATCHES.c.endpoint, BATCHES.c.input_file_id)
        .where(BATCHES.c.status == IN_PROGRESS, BATCHES.c.expires_at > now, waiting.exists())
        .order_by(BATCHES.c.created_at, BATCHES.c.id)
    )
    return [ActiveBatch(**row._mapping) for row in (await connection.execute(query)).all()]


async def claim_line(
    connection: AsyncConnection, batch: ActiveBatch, holder: str, now: float, seconds: float
) -> Line | None:
    """Return the first line of a batch that nobody answers, with a lease, or None if there is none."""
    query = (
        select(LINES.c.number, LINES.c.custom_id, LINES.c.start, LINES.c.length, LINES.c.attempts)
        .where(
            LINES.c.batch_id == batch.id,
            LINES.c.outcome.is_(None),
            LINES.c.not_before <= now,
            is_free(LINES, now),
        )
        .order_by(LINES.c.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    values = {"lease_holder": holder, "lease_until": now + seconds, "attempts": LINES.c.attempts + 1}
    claim = update(LINES).where(LINES.c.batch_id == batch.id, LINES.c.number == row.number)
    await connection.execute(claim.values(**values))
    return Line(batch=batch, **row._mapping)


async def store_result(
    connection: AsyncConnection, line: Line, holder: str, outcome: str, record: str, now: float
) -> bool:
    """Keep the result of a line and count it. Return False if the lease is lost; then nothing is kept.

    With the last line, the batch begins to be finalized.
    """
    mine = BATCHES.c.id == line.batch.id
    # The batch is locked before its lines, here and where it is finished, so that none waits for the other.
    await connection.execute(select(BATCHES.c.id).where(mine).with_for_update())
    query = update(LINES).where(
        LINES.c.batch_id == line.batch.id,
        LINES.c.number == line.number,
        LINES.c.outcome.is_(None),
        LINES.c.lease_holder == holder,
    )
    values = {"outcome": outcome, "record": record, "lease_holder": None, "lease_until": None}
    if (await connection.execute(query.values(**values))).rowcount == 0:
        return False
    column = BATCHES.c.completed if outcome == COMPLETED else BATCHES.c.failed
    await connection.execute(update(BATCHES).where(mine).values({column: column + 1}))
    is_over = BATCHES.c.completed + BATCHES.c.failed >= BATCHES.c.total
    await connection.execute(
        update(BATCHES)
        .where(mine, BATCHES.c.status == IN_PROGRESS, is_over)
        .values(status=FINALIZING, ending=COMPLETED, finalizing_at=now)
    )
    return True


async def release_line(
    connection: AsyncConnection, line: Line, holder: str, not_before: float, *, uncount: bool
) -> None:
    """Give back a line that was not answered. With `uncount` the attempt doesn't count."""
    query = update(LINES).where(
        LINES.c.batch_id == line.batch.id, LINES.c.number == line.number, LINES.c.lease_holder == holder
    )
    attempts = LINES.c.attempts - 1 if uncount else LINES.c.attempts
    await connection.execute(
        query.values(lease_holder=None, lease_until=None, not_before=not_before, attempts=attempts)
    )


async def renew_lines(
    connection: AsyncConnection, holder: str, until: float, idle: Collection[tuple[str, int]]
) -> frozenset[tuple[str, int]]:
    """Prolong a holder's leases on lines but for the `idle` ones, and return the lines that it still has."""
    query = update(LINES).where(LINES.c.lease_holder == holder, LINES.c.outcome.is_(None))
    if idle:
        query = query.where(tuple_(LINES.c.batch_id, LINES.c.number).not_in(list(idle)))
    rows = await connection.execute(
        query.values(lease_until=until).returning(LINES.c.batch_id, LINES.c.number)
    )
    return frozenset((row.batch_id, row.number) for row in rows)


async def release_lines(connection: AsyncConnection, holder: str | None) -> None:
    """End all leases of a holder on lines without counting the attempts, or all leases if it is None.

    In the second case a server was killed, so that the attempts count.
    """
    query = update(LINES).values(
        lease_holder=None, lease_until=None, attempts=LINES.c.attempts - (0 if holder is None else 1)
    )
    mine = LINES.c.lease_holder.is_not(None) if holder is None else LINES.c.lease_holder == holder
    await connection.execute(query.where(mine))


async def results_after(
    connection: AsyncConnection, batch_id: str, number: int, limit: int, *, completed: bool
) -> Sequence[Result]:
    """Return the next results of a batch behind a line, in the order of its lines.

    They are those of the file with results if `completed`, else those of the file with errors.
    """
    is_completed = LINES.c.outcome == COMPLETED
    query = (
        select(LINES.c.number, LINES.c.custom_id, LINES.c.outcome, LINES.c.record)
        .where(LINES.c.batch_id == batch_id, LINES.c.number > number)
        .where(is_completed if completed else ~is_completed)
        .order_by(LINES.c.number)
        .limit(limit)
    )
    return [Result(**row._mapping) for row in (await connection.execute(query)).all()]
