"""A database that fails for a while: clients get a 503, and a batch that runs loses and repeats nothing."""

import asyncio
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.server.apps import question
from tests.server.database.postgresql import new_database
from tests.server.http.test_files import refusal

from .echo import CHAT, EchoEngine, batch_client, jsonl, line, new_batch, records, until


def allow_connections(server: str, url: str, *, allowed: bool) -> None:
    """Let a database of a PostgreSQL take connections, or none, which ends those that there are."""
    name = url.rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        change = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
        connection.execute(change.format(sql.Identifier(name), sql.Literal(allowed)))
        if not allowed:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )


async def test_a_batch_waits_for_its_database(
    tmp_path: Path, postgresql: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.batches.worker.FAILURE_SECONDS", 0.05)
    monkeypatch.setattr("server.batches.line_runner.STORE_SECONDS", 0.05)
    url = new_database(postgresql)
    engine = EchoEngine(is_open=False)
    async with batch_client(tmp_path, engine, database=url, batch_concurrency=4) as client:
        created = await new_batch(client, jsonl([line(f"q{number}") for number in range(12)]))
        while engine.waiting < 4:
            await asyncio.sleep(0.01)
        allow_connections(postgresql, url, allowed=False)
        for path in ("/v1/files", "/v1/batches", f"/v1/batches/{created['id']}"):
            reply = await client.get(path)
            refusal(reply, 503, "database_failed")
            assert "retry-after" in reply.headers
        engine.gate.set()
        assert (await client.post(CHAT, json=question())).status_code == 200
        while engine.answered.total() < 5:
            await asyncio.sleep(0.01)
        allow_connections(postgresql, url, allowed=True)
        batch = await until(client, created)
        assert batch["request_counts"] == {"total": 12, "completed": 12, "failed": 0}
        assert len(await records(client, batch["output_file_id"])) == 12
    assert {engine.answered[f"q{number}"] for number in range(12)} == {1}
