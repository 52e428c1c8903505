"""A stopping server lets requests end, and tells the clients of those that take too long."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from server.http.drain import DrainingServer, EndAtShutdown, RunningRequests
from tests.server.apps import app_with, events_of, question
from tests.server.fakes import FakeCritic, FakeEngine
from tests.server.http.test_access_log import Endless

CHAT = "/v1/chat/completions"


@asynccontextmanager
async def stopping(
    app: FastAPI, drain_seconds: float, delay: float = 0
) -> AsyncIterator[tuple[httpx.AsyncClient, uvicorn.Server]]:
    """Yield a client and the real server, which has ended when the block has."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=5)
    server = DrainingServer(config, app.state.running, delay=delay, drain_seconds=drain_seconds)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client, server
        server.should_exit = True
        await running


def endings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the access log says of chat requests, behind the request's id."""
    assert [record for record in caplog.records if record.exc_info] == [], "no stack"
    lines = [record.getMessage() for record in caplog.records if record.name == "internvl3.server"]
    words = [line.split() for line in lines if line.startswith("POST")]
    return [" ".join(word for word in (line[2], *line[5:]) if "=" not in word) for line in words]


@pytest.mark.parametrize("extra", [{}, {"best_of": 2}, {"best_of": 2, "stream": True}])
async def test_a_request_that_waits_for_its_reply_is_told(extra, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "internvl3.server")
    fake = FakeEngine([None], FakeCritic({}))
    async with stopping(app_with(fake), drain_seconds=0.1) as (client, server):
        request = asyncio.create_task(client.post(CHAT, json=question(**extra)))
        await fake.running.wait()
        server.should_exit = True
        reply = await request
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (503, "server_shutting_down")
    assert error["type"] == "server_error" and reply.headers["retry-after"]
    assert endings(caplog) == ["503 ended by the shutdown"]
    assert fake.cancelled == 1 and fake.closed


async def test_a_stream_that_has_begun_ends_with_an_error_event(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "internvl3.server")
    async with stopping(app_with(Endless(["yes"])), drain_seconds=0.1) as (client, server):
        text = ""
        async with client.stream("POST", CHAT, json=question(stream=True)) as reply:
            async for piece in reply.aiter_text():
                text += piece
                server.should_exit = True
    assert events_of(text)[1][-1]["error"]["code"] == "server_shutting_down"
    assert endings(caplog) == ["200 ended by the shutdown"]


async def test_a_request_that_ends_in_time_is_answered(caplog: pytest.LogCaptureFixture):
    class Slow(FakeEngine):
        async def generate(self, index: int) -> str:
            self.running.set()
            await asyncio.sleep(0.5)
            return "yes"

    caplog.set_level(logging.INFO, "internvl3.server")
    fake = Slow(["yes"])
    async with stopping(app_with(fake), drain_seconds=20) as (client, server):
        request = asyncio.create_task(client.post(CHAT, json=question()))
        await fake.running.wait()
        server.should_exit = True
        assert (await request).json()["choices"][0]["message"]["content"] == "yes"
    assert endings(caplog) == ["200"]


async def test_who_had_connected_when_the_listener_closed_is_told(monkeypatch: pytest.MonkeyPatch):
    """Once such a connection was cut while its request was on its way."""
    monkeypatch.setattr("server.http.drain.CONNECTED_SECONDS", 30)
    async with stopping(app_with(FakeEngine(["yes"])), drain_seconds=20) as (client, server):
        port = client.base_url.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        server.should_exit = True
        while server.servers[0].is_serving():
            await asyncio.sleep(0.01)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        reply = await reader.read()
        writer.close()
    assert reply.startswith(b"HTTP/1.1 503 ") and b"server_shutting_down" in reply


async def test_who_waits_in_the_kernels_queue_when_the_listener_closes_is_told():
    """A busy event loop accepts too late. Once the kernel cut these connections with the listener."""
    app = app_with(FakeEngine(["yes"]))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    waiting: list[socket.socket] = []
    end = app.state.running.end

    async def connects_meanwhile() -> None:
        await end()  # the loop has no turn from here to the close of the listener
        for _ in range(3):
            waiting.append(socket.create_connection(listener.getsockname()))
            waiting[-1].sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            )

    app.state.running.end = connects_meanwhile
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5)
    server = DrainingServer(config, app.state.running, delay=0, drain_seconds=20)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    server.should_exit = True
    await running
    for client in waiting:
        with client:
            reply = client.recv(2**16)
            assert reply.startswith(b"HTTP/1.1 503 ") and b"server_shutting_down" in reply


async def test_a_client_that_does_not_read_does_not_hold_the_server_up(caplog: pytest.LogCaptureFixture):
    class Flood(FakeEngine):
        async def stream(self, body, choose=None, *, media, count):
            async def events():
                while True:
                    yield f'data: {{"choices":[{" " * 100_000}]}}\n\n'

            return events()

    caplog.set_level(logging.INFO, "internvl3.server")
    async with (
        stopping(app_with(Flood(["yes"])), drain_seconds=0.1) as (client, server),
        client.stream("POST", CHAT, json=question(stream=True)),
    ):
        await asyncio.sleep(0.3)
        server.should_exit = True
        async with asyncio.timeout(20):
            while not endings(caplog):
                await asyncio.sleep(0.05)
    assert endings(caplog) == ["200 ended by the shutdown"]


async def test_load_balancers_have_time_to_notice():
    """Until the delay is over, /readyz says 503 and requests are answered."""
    async with stopping(app_with(FakeEngine(["yes"])), drain_seconds=0, delay=1000) as (client, server):
        assert (await client.get("/readyz")).status_code == 200
        server.should_exit = True
        while (ready := await client.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.02)
        assert ready.status_code == 503 and ready.json()["error"]["code"] == "server_shutting_down"
        assert (await client.post(CHAT, json=question())).status_code == 200
        assert (await client.get("/livez")).status_code == 200
        server.force_exit = True


async def test_new_requests_are_refused_while_running_ones_end():
    fake = FakeEngine([None])
    async with stopping(app_with(fake), drain_seconds=1000) as (client, server):
        running = asyncio.create_task(client.post(CHAT, json=question()))
        await fake.running.wait()
        server.should_exit = True
        while (await client.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.02)
        new = await client.post(CHAT, json=question())
        assert (new.status_code, new.json()["error"]["code"]) == (503, "server_shutting_down")
        assert new.headers["retry-after"] == "5" and new.headers["connection"] == "close"
        assert not running.done()
        server.force_exit = True
        assert (await running).status_code == 503


class Transport:
    """uvicorn's end of a request: messages wait while `is_open` is not set, and none may follow the last."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.waiting = asyncio.Event()
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        if not self.is_open.is_set():
            self.waiting.set()
            await self.is_open.wait()
        assert not self.sent or self.sent[-1].get("more_body", True), "the reply was complete"
        self.sent.append(message)


async def receive() -> Message:
    return {"type": "http.disconnect"}


def piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}


async def test_a_stream_whose_last_event_is_on_its_way_gets_no_second_end(caplog: pytest.LogCaptureFixture):
    """The shutdown once sent its event behind the last one, and the log had a stack."""
    transport, running = Transport(), RunningRequests()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        transport.is_open.clear()
        await send(piece(b"data: [DONE]", more=False))

    scope = {"type": "http", "path": "/", "state": {}}
    answering = asyncio.create_task(EndAtShutdown(app, running)(scope, receive, transport.send))
    await transport.waiting.wait()
    ending = asyncio.create_task(running.end())
    await asyncio.sleep(0)
    transport.is_open.set()
    await asyncio.gather(answering, ending)
    assert [message.get("body") for message in transport.sent] == [None, b"data: [DONE]"]
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_request_may_return_while_its_client_is_told(caplog: pytest.LogCaptureFixture):
    """Then nothing is left to cancel, which once failed."""
    transport, running, returns = Transport(), RunningRequests(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        transport.is_open.clear()
        await returns.wait()

    answering = asyncio.create_task(
        EndAtShutdown(app, running)({"type": "http", "path": "/", "state": {}}, receive, transport.send)
    )
    while transport.is_open.is_set():
        await asyncio.sleep(0)
    ending = asyncio.create_task(running.end())
    await transport.waiting.wait()
    returns.set()
    await answering
    transport.is_open.set()
    await ending
    assert b"server_shutting_down" in transport.sent[-1]["body"]
    assert not [record for record in caplog.records if record.exc_info]
