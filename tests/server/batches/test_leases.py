"""Who may answer a line: leases are renewed, run out, and are taken over by another server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from server.batches.leases import Leases
from server.database.batch_jobs import begin_lines, claim_job, close_lines, finish_batch
from server.database.batch_rows import COMPLETED, BatchRow, add_batch, find_batch
from server.database.connection import Database
from server.database.line_rows import Line, active_batches, claim_line, results_after, store_result
from server.database.tables import LINES
from tests.server.database.postgresql import new_database

HOLDER, OTHER = "holder", "other"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'db'}")
    else:
        opened = Database(new_database(request.getfixturevalue("postgresql")))
    await opened.prepare()
    yield opened
    await opened.close()


async def begun_batch(database: Database, lines: int) -> BatchRow:
    """Return a batch with so many lines, which is in progress. Its time is 0."""
    row = BatchRow(
        id="batch_a",
        owner="o",
        endpoint="/v1/chat/completions",
        input_file_id="file-a",
        completion_window="24h",
        created_at=0.0,
        expires_at=1e12,
    )
    rows = [{"number": n, "custom_id": f"q{n}", "start": 0, "length": 1} for n in range(1, lines + 1)]
    async with database.transaction() as connection:
        await add_batch(connection, row)
        job = await claim_job(connection, HOLDER, 0.0, 10.0)
        assert job is not None and job.status == "validating"
        assert await begin_lines(connection, job, HOLDER, rows, 0.0)
    return row


async def claim(database: Database, holder: str, now: float) -> Line | None:
    async with database.transaction() as connection:
        batches = await active_batches(connection, now)
        return await claim_line(connection, batches[0], holder, now, 10.0) if batches else None


async def store(database: Database, line: Line, holder: str, record: str = "{}") -> bool:
    async with database.transaction() as connection:
        return await store_result(connection, line, holder, COMPLETED, record, 5.0)


async def test_a_line_has_one_holder_until_its_lease_ends(database: Database):
    await begun_batch(database, 2)
    first, second = await claim(database, HOLDER, 0.0), await claim(database, OTHER, 0.0)
    assert first is not None and second is not None and (first.number, second.number) == (1, 2)
    assert await claim(database, OTHER, 9.0) is None
    again = await claim(database, OTHER, 11.0)
    assert again is not None and (again.number, again.attempts) == (1, 1)
    assert not await store(database, first, HOLDER, "late")
    assert await store(database, again, OTHER, "in time")
    assert not await store(database, again, OTHER, "twice")
    async with database.transaction() as connection:
        row = await find_batch(connection, "o", "batch_a")
        (kept,) = await results_after(connection, "batch_a", 0, 10, completed=True)
    assert row is not None and (row.completed, row.total, row.status) == (1, 2, "in_progress")
    assert kept.record == "in time"


async def test_a_batch_is_finished_once_and_no_result_comes_later(database: Database):
    await begun_batch(database, 1)
    line = await claim(database, HOLDER, 0.0)
    assert line is not None and await store(database, line, HOLDER)
    async with database.transaction() as connection:
        job = await claim_job(connection, HOLDER, 20.0, 10.0)
        assert job is not None and job.status == "finalizing"
        assert await claim_job(connection, OTHER, 25.0, 10.0) is None
        taken = await claim_job(connection, OTHER, 31.0, 10.0)
        assert taken is not None
        assert await close_lines(connection, job, HOLDER) is None
        files = {"output_file_id": "file-b", "error_file_id": None}
        assert not await finish_batch(connection, job, HOLDER, **files, now=32.0)
        assert await close_lines(connection, taken, OTHER) == 0
        assert await finish_batch(connection, taken, OTHER, **files, now=32.0)
        row = await find_batch(connection, "o", "batch_a")
        assert await results_after(connection, "batch_a", 0, 10, completed=True) == []
    assert row is not None and (row.status, row.completed_at, row.output_file_id) == (
        "completed",
        32.0,
        "file-b",
    )


async def test_a_line_that_nobody_works_on_gets_free(database: Database):
    """As when the database has failed while the line was given back."""
    await begun_batch(database, 1)
    leases = Leases(database, 100.0)
    assert await claim(database, leases.holder, 0.0) is not None

    async def ends_at() -> float:
        async with database.transaction() as connection:
            return float((await connection.execute(select(LINES.c.lease_until))).scalar_one())

    assert await ends_at() == 10.0
    await leases.renew()
    renewed = await ends_at()
    assert renewed > 10.0
    await leases.renew()
    assert await ends_at() == renewed


async def test_an_orderly_end_gives_all_back_at_once(database: Database):
    await begun_batch(database, 1)
    leases = Leases(database, 10.0)
    assert await claim(database, leases.holder, 0.0) is not None
    await leases.end()
    line = await claim(database, OTHER, 0.0)
    assert line is not None and line.attempts == 0


async def test_a_killed_server_loses_its_leases_at_the_next_start(database: Database):
    """On PostgreSQL other servers may run, so that a lease ends with its time alone."""
    await begun_batch(database, 1)
    assert await claim(database, HOLDER, 0.0) is not None
    await Leases(database, 10.0).begin()
    line = await claim(database, OTHER, 0.0)
    assert (line is None) == database.is_shared
    assert line is None or line.attempts == 1


async def test_servers_that_claim_at_the_same_time_get_different_lines(database: Database):
    await begun_batch(database, 40)
    holders = [f"holder {number}" for number in range(8)]
    lines = await asyncio.gather(*(claim(database, holder, 0.0) for holder in holders * 4))
    numbers = [line.number for line in lines if line is not None]
    assert len(numbers) == len(set(numbers))
    more = [await claim(database, OTHER, 0.0) for _ in range(41 - len(numbers))]
    assert more.pop() is None
    assert sorted([*numbers, *(line.number for line in more if line is not None)]) == list(range(1, 41))


async def test_results_at_the_same_time_are_all_counted(database: Database):
    await begun_batch(database, 12)
    lines = [await claim(database, HOLDER, 0.0) for _ in range(12)]
    stored = await asyncio.gather(*(store(database, line, HOLDER) for line in lines if line is not None))
    assert stored == [True] * 12
    async with database.transaction() as connection:
        row = await find_batch(connection, "o", "batch_a")
    assert row is not None and (row.completed, row.status) == (12, "finalizing")
