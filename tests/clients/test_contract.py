"""Client and server understand each other; only the engine of the server is scripted."""

import asyncio
import json

import pytest

from clients.sdk.client import AsyncClient
from clients.sdk.errors import ApiError
from clients.sdk.event_stream import Chunk, Comment
from clients.sdk.messages import user_message
from clients.sdk.streamed_completion import StreamedCompletion
from tests.clients.test_cli import run
from tests.server.apps import app_with, listening
from tests.server.fakes import FakeCritic, FakeEngine
from tests.terminal import unwrapped

SCALING = {"n": 3, "return_candidates": True}


def engine() -> FakeEngine:
    return FakeEngine(
        ["eight", "seven", "nine"], FakeCritic({"eight": [0.2], "seven": [0.9, 0.8], "nine": [0.1]})
    )


async def test_the_reply_is_read_with_and_without_streaming() -> None:
    async with listening(app_with(engine())) as url, AsyncClient(url) as client:
        completion = await client.chat([user_message("How many?")], seed=1, test_time_scaling=SCALING)
        streamed = client.stream_chat([user_message("How many?")], seed=1, test_time_scaling=SCALING)
        events = [event async for event in streamed]
    answer = StreamedCompletion()
    for event in events:
        if isinstance(event, Chunk):
            answer.add(event)
    assert isinstance(events[0], Comment)
    assert completion.text == answer.completion().text == "seven"
    assert completion.test_time_scaling is not None
    assert completion.test_time_scaling == answer.completion().test_time_scaling
    assert completion.test_time_scaling.selected == 1
    assert [candidate.text for candidate in completion.test_time_scaling.candidates] == [
        "eight",
        "seven",
        "nine",
    ]
    assert completion.test_time_scaling.candidates[1].step_scores == [0.9, 0.8]


async def test_a_refusal_names_the_field() -> None:
    async with listening(app_with(engine())) as url, AsyncClient(url) as client:
        with pytest.raises(ApiError) as refusal:
            await client.chat([user_message("q")], test_time_scaling={"n": 0})
    assert (refusal.value.status, refusal.value.param) == (400, "test_time_scaling.n")


@pytest.mark.parametrize("stream_flag", ["--stream", "--no-stream"])
async def test_ask_prints_the_winner(stream_flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with listening(app_with(engine())) as url:
        options = f"--best-of 3 --delta 0.25 --max-tiles 6 --seed 1 --json {stream_flag} --base-url {url}"
        assert await asyncio.to_thread(run, "ask", "How many?", *options.split()) == 0
    shown = capsys.readouterr().out
    assert "scored by fake-critic" in unwrapped(shown)
    assert json.loads(shown.rstrip("\n").split("\n")[-1])["answer"] == "seven"
