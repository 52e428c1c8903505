"""A batch of 500 lines whose servers are killed again and again gets each result once."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from server.database.connection import Database
from server.database.tables import LINES
from tests.server.database.postgresql import new_database

from .echo import jsonl, line, new_batch, records, until
from .echo_server import EchoServer, echo_server, questions

LINE_COUNT = 500
CONTENT = jsonl([line(f"q{number}", f"question {number}") for number in range(LINE_COUNT)])
EXPECTED = [(f"q{number}", f"question {number}") for number in range(LINE_COUNT)]


def client_of(server: EchoServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=60)


async def answered_lines(url: str) -> set[str]:
    """Return the custom_ids of the lines whose results are in a database that no server uses."""
    database = Database(url)
    await database.prepare()
    async with database.transaction() as connection:
        found = (
            await connection.scalars(select(LINES.c.custom_id).where(LINES.c.outcome.is_not(None)))
        ).all()
    await database.close()
    return set(found)


async def reach(client: httpx.AsyncClient, batch: Mapping[str, Any], completed: int) -> None:
    """Wait until so many lines of a batch have a result."""
    while True:
        found = (await client.get(f"/v1/batches/{batch['id']}")).json()
        if found["request_counts"]["completed"] >= completed:
            return
        await asyncio.sleep(0.005)


async def check_results(client: httpx.AsyncClient, batch: Mapping[str, Any]) -> None:
    ended = await until(client, batch)
    assert ended["status"] == "completed" and ended["error_file_id"] is None
    assert ended["request_counts"] == {"total": LINE_COUNT, "completed": LINE_COUNT, "failed": 0}
    results = [
        (record["custom_id"], record["response"]["body"]["choices"][0]["message"]["content"])
        for record in await records(client, ended["output_file_id"])
    ]
    assert results == EXPECTED
    files = (await client.get("/v1/files", params={"purpose": "batch_output"})).json()["data"]
    assert [file["id"] for file in files] == [ended["output_file_id"]]


async def test_ten_kills_lose_nothing_and_repeat_no_finished_line(tmp_path: Path):
    moments = random.Random(15)
    thresholds = sorted([0, LINE_COUNT, *(moments.randrange(LINE_COUNT) for _ in range(8))])
    url = f"sqlite:///{tmp_path / 'files' / 'internvl3.sqlite'}"
    batch: Mapping[str, Any] = {}
    finished: list[set[str]] = []  # after each kill
    for number, threshold in enumerate(thresholds):
        with echo_server(tmp_path, f"server-{number}", 0.004) as server:
            async with client_of(server) as client:
                batch = batch or await new_batch(client, CONTENT)
                await reach(client, batch, threshold)
                await asyncio.sleep(moments.random() * 0.05)
                server.kill()
        finished.append(await answered_lines(url))
    with echo_server(tmp_path, "last", 0.004) as server:
        async with client_of(server) as client:
            await check_results(client, batch)
    for number in range(len(thresholds)):
        if number and finished[number]:  # the rows are deleted when the batch ends
            assert finished[number - 1] <= finished[number]
    asked = questions(tmp_path)
    for number, ids in enumerate(finished):
        later = {f"server-{other}" for other in range(number + 1, len(thresholds))} | {"last"}
        again = {f"q{text.removeprefix('question ')}" for name, text in asked if name in later}
        assert not again & ids
    repeated = Counter(text for _, text in asked)
    assert len(repeated) == LINE_COUNT and max(repeated.values()) <= len(thresholds) + 1


async def test_another_server_takes_over_when_one_is_killed(tmp_path: Path, postgresql: str):
    url = new_database(postgresql)
    chosen: dict[str, Any] = {"database": url, "batch_lease_seconds": 2.0}
    with (
        echo_server(tmp_path, "first", 0.02, **chosen) as first,
        echo_server(tmp_path, "second", 0.02, **chosen) as second,
    ):
        async with client_of(first) as client:
            batch = await new_batch(client, CONTENT)
            while len({name for name, _ in questions(tmp_path)}) < 2:
                await asyncio.sleep(0.01)
            await reach(client, batch, 100)
        first.kill()
        async with client_of(second) as client:
            await check_results(client, batch)
    by_server = Counter(name for name, _ in questions(tmp_path))
    assert by_server["first"] > 0 and by_server["second"] > 0
    assert {text for _, text in questions(tmp_path)} == {text for _, text in EXPECTED}
