"""A stream that has nothing to say yet begins all the same, and a refusal at once keeps its HTTP status."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from server.errors import ApiError
from server.services import keep_alive
from server.services.keep_alive import COMMENT, with_comments
from tests.server.apps import app_with, events_of, listening, question
from tests.server.fakes import FakeCritic, FakeEngine

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_alive, "SILENCE_SECONDS", 0.05)


class Waiting(FakeEngine):
    """Its answers come when the test says so."""

    def __init__(self) -> None:
        super().__init__(["yes", "no"], FakeCritic({"yes": [0.9], "no": [0.1]}))
        self.may_end = asyncio.Event()

    async def generate(self, index: int) -> str:
        await self.may_end.wait()
        return await super().generate(index)


class RefusingLater(Waiting):
    async def generate(self, index: int) -> str:
        await self.may_end.wait()
        raise ApiError("No.", code="no")


@asynccontextmanager
async def streamed(
    fake: FakeEngine, path: str = CHAT, **extra: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
    """Yield the reply of a real server to a streamed question, and the pieces of its text as they come."""
    async with (
        listening(app_with(fake)) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as client,
        client.stream("POST", path, json=question(stream=True, **extra)) as reply,
    ):
        yield reply, reply.aiter_text()


@pytest.mark.parametrize("extra", [{}, {"best_of": 2}], ids=["plain", "best of 2"])
async def test_headers_and_a_comment_come_before_the_first_token(extra):
    fake = Waiting()
    async with streamed(fake, **extra) as (reply, pieces):
        first = await anext(pieces)
        assert (reply.status_code, first) == (200, COMMENT) and fake.begun == 0
        fake.may_end.set()
        comments, chunks = events_of(first + "".join([piece async for piece in pieces]))
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "yes"
    assert comments[0] == "still working"


async def test_comments_go_on_while_nothing_happens():
    fake = FakeEngine(["yes", None], FakeCritic({"yes": [0.9]}))
    text = ""
    async with streamed(fake, best_of=2) as (_, pieces):
        async for piece in pieces:
            text += piece
            if text.count(COMMENT) == 3:
                break
    assert "1/2 scored" in text, "the comments came between candidates, too"


@pytest.mark.parametrize("extra", [{}, {"best_of": 2}], ids=["plain", "best of 2"])
async def test_a_refusal_behind_a_comment_is_an_event(extra):
    fake = RefusingLater()
    async with streamed(fake, **extra) as (reply, pieces):
        first = await anext(pieces)
        fake.may_end.set()
        _, chunks = events_of(first + "".join([piece async for piece in pieces]))
    assert reply.status_code == 200 and chunks == [{"error": chunks[0]["error"]}]
    assert chunks[0]["error"]["code"] == "no"


async def test_completions_have_comments_and_late_refusals_too():
    fake = Waiting()
    async with streamed(fake, TEXT, prompt="Once") as (reply, pieces):
        first = await anext(pieces)
        assert (reply.status_code, first) == (200, COMMENT) and fake.begun == 0
        fake.may_end.set()
        _, chunks = events_of(first + "".join([piece async for piece in pieces]))
    assert chunks == [{"text": "yes"}]


async def test_a_silence_between_two_events_is_broken():
    may_go_on = asyncio.Event()

    async def events() -> AsyncGenerator[str, None]:
        yield "one"
        await may_go_on.wait()
        yield "two"

    got = []
    async for event in with_comments(events()):
        got.append(event)
        if got.count(COMMENT) == 2:
            may_go_on.set()
    assert got[:3] == ["one", COMMENT, COMMENT] and got[-1] == "two"


async def test_the_stream_is_read_one_event_ahead_at_most_and_closed_with_its_reader():
    read, closed = [], []

    async def events() -> AsyncGenerator[str, None]:
        try:
            for number in range(100):
                read.append(number)
                yield str(number)
        finally:
            closed.append(True)

    stream = with_comments(events())
    assert await anext(stream) == "0"
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(read) <= 3
    await stream.aclose()
    assert closed == [True]


async def test_an_error_comes_after_the_events_before_it():
    async def events() -> AsyncGenerator[str, None]:
        yield "one"
        raise ApiError("No.")

    stream = with_comments(events())
    assert await anext(stream) == "one"
    with pytest.raises(ApiError, match="No"):
        await anext(stream)


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("pauses", [0, 1, 2])
async def test_a_fast_stream_ends_when_its_client_has_left(turns: int, pauses: int):
    """Starlette cancels it by a cancel scope of anyio's, at any point of the stream."""
    most, sent = 20_000, []

    async def fast() -> AsyncGenerator[str, None]:
        for number in range(most):
            for _ in range(pauses):
                await asyncio.sleep(0)
            yield str(number)

    async def send_all() -> None:
        async for event in with_comments(fast()):
            sent.append(event)  # the client has left, so sending takes no time

    async with anyio.create_task_group() as group:
        group.start_soon(send_all)
        for _ in range(20 + turns):
            await asyncio.sleep(0)
        group.cancel_scope.cancel()
    assert len(sent) < most
