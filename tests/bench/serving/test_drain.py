"""`internvl3 bench drain` without engines: which requests count as refused, answered and lost."""

import random

import httpx
import pytest

from bench.serving import drain
from server.errors import ApiError, shutting_down
from tests.server.apps import app_with, listening
from tests.server.fakes import FakeCritic, FakeEngine


async def outcomes_of(fake: FakeEngine, stopped: float | None, count: int = 20) -> drain.Tally:
    tally, chance = drain.Tally(stopped=stopped), random.Random(1)
    async with listening(app_with(fake)) as url, httpx.AsyncClient(base_url=url) as http:
        for _ in range(count):
            assert await drain.ask(http, chance, tally)
    return tally


def engine() -> FakeEngine:
    return FakeEngine(["yes"], FakeCritic({"yes": [0.5]}))


@pytest.mark.parametrize(
    ("stopped", "outcome"),
    [
        (None, "answered before the signal"),
        (0.0, "sent after it, answered"),
    ],
)
async def test_whole_answers_are_told_apart_by_the_signal(stopped: float | None, outcome: str):
    tally = await outcomes_of(engine(), stopped)
    assert dict(tally.outcomes) == {outcome: 20} and not tally.faults


async def test_refusals_are_none_after_the_signal_and_faults_before_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drain, "PAUSE_SECONDS", 0)
    fake = engine()
    fake.refuse = shutting_down()
    after = await outcomes_of(fake, 0.0)
    assert dict(after.outcomes) == {"refused with 503": 20} and not after.faults
    before = await outcomes_of(fake, None)
    assert len(before.faults) == 20


async def test_an_error_is_a_fault():
    fake = engine()
    fake.refuse = ApiError("Broken.", status=500, code="internal_error")
    tally = await outcomes_of(fake, 0.0)
    assert len(tally.faults) == 20 and "internal_error" in tally.faults[0]


async def test_a_server_that_is_gone_ends_the_client():
    async with listening(app_with(engine())) as url:
        pass
    tally = drain.Tally(stopped=0.0)
    async with httpx.AsyncClient(base_url=url) as http:
        assert not await drain.ask(http, random.Random(1), tally)
    assert dict(tally.outcomes) == {"connection refused": 1} and not tally.faults
