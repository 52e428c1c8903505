"""The time limit of scoring: silence ends it, and scores of other answers renew it."""

import asyncio

import pytest

from server.critic_rules.time_limit import ScoringTime
from ttscaling.types import CriticError


async def test_silence_ends_the_scoring():
    with pytest.raises(CriticError, match=r"within 0\.05 seconds"):
        async with ScoringTime(0.05).limit():
            await asyncio.Event().wait()


async def test_a_score_of_another_answer_renews_the_time():
    time, renewed = ScoringTime(0.5), asyncio.Event()

    async def score() -> None:
        async with time.limit():
            await renewed.wait()

    scoring = asyncio.create_task(score())
    for _ in range(5):
        await asyncio.sleep(0.2)
        time.renew()
    renewed.set()
    await scoring


async def test_other_time_limits_pass_through():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            async with ScoringTime(60).limit():
                await asyncio.Event().wait()
    with pytest.raises(TimeoutError):
        async with ScoringTime(60).limit():
            raise TimeoutError
