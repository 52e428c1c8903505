"""A server at its capacity lets requests wait, and refuses those that are too many."""

import asyncio
from typing import Any

import httpx
import pytest

from server.access.admission import Priority
from server.services import keep_alive
from tests.server.apps import app_with, client_of, events_of, listening, question
from tests.server.fakes import FakeCritic, FakeEngine

CHAT = "/v1/chat/completions"
SMALL: dict[str, Any] = {"max_running_tokens": 100}  # one request of 100 tokens at a time


def heavy(**fields: Any) -> dict[str, Any]:
    return question(max_tokens=100, **fields)


async def figure(client: httpx.AsyncClient, line: str) -> float:
    """Return the value of a metric."""
    lines = (await client.get("/metrics")).text.splitlines()
    return float(next(found.rpartition(" ")[2] for found in lines if found.startswith(f"{line} ")))


async def until(client: httpx.AsyncClient, line: str, value: float) -> None:
    """Wait until a metric has a value."""
    async with asyncio.timeout(30):
        while await figure(client, line) != value:
            await asyncio.sleep(0.01)


QUEUED = 'internvl3_queued_requests{priority="interactive"}'


async def test_requests_beyond_the_capacity_wait_and_further_ones_are_refused():
    fake = FakeEngine([None], FakeCritic({}))
    async with client_of(app_with(fake, max_queued=1, **SMALL)) as client:
        running = asyncio.create_task(client.post(CHAT, json=heavy()))
        await fake.running.wait()
        waiting = asyncio.create_task(client.post(CHAT, json=heavy()))
        await until(client, QUEUED, 1)
        refused = await client.post(CHAT, json=heavy())
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert refused.json()["error"]["type"] == "requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await client.get("/readyz")).status_code == 200, "probes don't wait"
        assert await figure(client, "internvl3_running_tokens") == 100
        fake.answers = ["ready"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (await waiting).json()["choices"][0]["message"]["content"] == "ready"
        assert await figure(client, 'internvl3_queue_seconds_count{priority="interactive"}') == 2
        assert await figure(client, "internvl3_running_tokens") == 0


@pytest.mark.parametrize("path", [CHAT, "/v1/chat/completions/render", "/v1/critic/score", "/tokenize"])
async def test_all_work_waits_for_its_turn(path: str):
    fake = FakeEngine([None], FakeCritic({"a": [0.5]}))
    async with client_of(app_with(fake, queue_seconds=0.05, **SMALL)) as client:
        running = asyncio.create_task(client.post(CHAT, json=heavy()))
        await fake.running.wait()
        body = {**question(), "answers": ["a"]} if path.endswith("score") else question()
        if path.endswith("score"):
            del body["model"]
        late = await client.post(path, json=body)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "queue_timeout")
        assert late.headers["retry-after"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_client_that_leaves_the_queue_makes_room():
    fake = FakeEngine([None], FakeCritic({}))
    async with listening(app_with(fake, **SMALL)) as url, httpx.AsyncClient(base_url=url) as client:
        running = asyncio.create_task(client.post(CHAT, json=heavy()))
        await fake.running.wait()
        leaving = asyncio.create_task(client.post(CHAT, json=heavy()))
        await until(client, QUEUED, 1)
        leaving.cancel()
        await until(client, QUEUED, 0)
        running.cancel()
        await until(client, "internvl3_running_tokens", 0)


async def test_a_stream_that_waits_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keep_alive, "SILENCE_SECONDS", 0.01)
    fake = FakeEngine([None], FakeCritic({}))
    async with client_of(app_with(fake, **SMALL)) as client:
        running = asyncio.create_task(client.post(CHAT, json=heavy()))
        await fake.running.wait()
        waiting = asyncio.create_task(client.post(CHAT, json=heavy(stream=True)))
        await until(client, QUEUED, 1)
        fake.answers = ["ready"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        comments, chunks = events_of((await waiting).text)
        assert set(comments) <= {"still working"}
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "ready"


async def test_the_engine_schedules_requests_before_the_lines_of_batches():
    fake = FakeEngine(["ready"], FakeCritic({}))
    async with client_of(app_with(fake)) as client:
        await client.post(CHAT, json=question())
    assert fake.bodies[0]["priority"] == 0 < Priority.BATCH
