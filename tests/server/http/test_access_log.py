"""The access log and its metrics: bugs, streams that break, and clients that leave are told apart."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
import pytest

from tests.server.apps import app_with, client_of, events_of, listening, question
from tests.server.fakes import FakeEngine

CHAT = "/v1/chat/completions"
STREAMS = f'internvl3_http_streams_total{{{{outcome="{{}}",route="{CHAT}"}}}}'


class Broken(FakeEngine):
    """Every plain reply ends in an exception, a stream after its first chunk."""

    async def complete(
        self, body: Mapping[str, Any], choose: Any = None, *, media: Any, count: Any
    ) -> dict[str, Any]:
        raise RuntimeError("at 0x7f00")

    async def stream(
        self, body: Mapping[str, Any], choose: Any = None, *, media: Any, count: Any
    ) -> AsyncGenerator[str, None]:
        async def events() -> AsyncGenerator[str, None]:
            yield 'data: {"choices":[]}\n\n'
            raise RuntimeError("at 0x7f00")

        return events()


class Endless(FakeEngine):
    """A stream that never ends."""

    async def stream(
        self, body: Mapping[str, Any], choose: Any = None, *, media: Any, count: Any
    ) -> AsyncGenerator[str, None]:
        async def events() -> AsyncGenerator[str, None]:
            while True:
                yield 'data: {"choices":[]}\n\n'
                await asyncio.sleep(0.01)

        return events()


async def figures(client: httpx.AsyncClient) -> dict[str, float]:
    """Every `internvl3_http_...` sample of /metrics by its name and labels."""
    lines = (await client.get("/metrics")).text.splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("internvl3_http")
    }


async def test_a_bug_is_a_500_with_an_id(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "internvl3.server")
    async with client_of(app_with(Broken(["yes"]))) as client:
        reply = await client.post(CHAT, json=question(), headers={"X-Request-Id": "mine"})
        counted = await figures(client)
    assert (reply.status_code, reply.headers["x-request-id"]) == (500, "mine")
    assert counted['internvl3_http_requests_total{route="/v1/chat/completions",status="500"}'] == 1
    assert counted["internvl3_http_requests_cancelled_total"] == 0
    assert any(" 500 " in record.getMessage() and "mine" in record.getMessage() for record in caplog.records)


async def test_what_is_called_every_few_seconds_gets_no_line(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "internvl3.server")
    async with client_of(app_with(FakeEngine(["yes"]))) as client:
        for path in ("/livez", "/readyz", "/health", "/metrics", "/v1/critic", "/v1/models"):
            await client.get(path)
    lines = [record.getMessage() for record in caplog.records if " GET " in f" {record.getMessage()}"]
    assert len(lines) == 1 and "/v1/models" in lines[0]


async def test_a_stream_that_breaks_ends_with_an_error_event():
    async with client_of(app_with(Broken(["yes"]))) as client:
        reply = await client.post(CHAT, json=question(stream=True))
        counted = await figures(client)
    _, chunks = events_of(reply.text)
    assert chunks[-1]["error"]["type"] == "server_error" and "0x" not in reply.text
    assert counted[STREAMS.format("error")] == 1
    refused = f'internvl3_http_requests_refused_total{{code="internal_error",route="{CHAT}"}}'
    assert counted[refused] == 1
    assert counted["internvl3_http_requests_cancelled_total"] == 0


async def test_a_client_that_leaves_its_stream_is_counted():
    async with listening(app_with(Endless(["yes"]))) as url, httpx.AsyncClient(base_url=url) as client:
        async with client.stream("POST", CHAT, json=question(stream=True)) as reply:
            await anext(reply.aiter_bytes())
        while not (counted := await figures(client))["internvl3_http_requests_cancelled_total"]:
            await asyncio.sleep(0.01)
    assert counted["internvl3_http_requests_cancelled_total"] == 1
    assert counted[STREAMS.format("left")] == 1


async def test_a_whole_reply_is_neither():
    async with client_of(app_with(FakeEngine(["yes"]))) as client:
        await client.post(CHAT, json=question())
        await client.post(CHAT, json=question(stream=True))
        counted = await figures(client)
    assert counted["internvl3_http_requests_cancelled_total"] == 0
    assert counted['internvl3_http_requests_total{route="/v1/chat/completions",status="200"}'] == 2
    assert counted[STREAMS.format("done")] == 1
    assert "http_streams_total" in str(counted) and "refused" not in str(counted)


async def test_the_engine_gets_our_id_and_not_the_bodys():
    """It stands in every chunk of a stream, so a client must not choose its length."""
    engine = FakeEngine(["yes"])
    async with client_of(app_with(engine)) as client:
        reply = await client.post(CHAT, json=question(request_id="x" * 100_000))
    assert engine.bodies[0]["request_id"] == reply.headers["x-request-id"]


async def test_a_body_of_millions_of_values_is_refused():
    async with client_of(app_with(FakeEngine(["yes"]))) as client:
        body = json.dumps(question()).encode()[:-1] + b',"stop":[' + b"[]," * 500_000 + b"[]]}"
        reply = await client.post(CHAT, content=body, headers={"content-type": "application/json"})
        many = question(stop=["a" * 4], metadata={"text": "x" * 3_000_000})
        long_but_few = await client.post(CHAT, json=many)
    assert reply.status_code == 413 and reply.json()["error"]["code"] == "request_too_large"
    assert long_but_few.status_code == 200
