"""The embedded critic: what it reads, how readings become scores, and that a failure is no score."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from server.critic import Reading, StepCritic
from ttscaling.types import Conversation, CriticError, Message

CONVERSATION = Conversation(
    messages=({"role": "user", "content": "How many?"},), mm_processor_kwargs={"v2pe_delta": 0.5}
)


async def test_every_step_is_read_after_the_steps_before_it():
    asked: list[Sequence[Message]] = []

    async def read(messages: Sequence[Message], vision: Mapping[str, Any]) -> Reading:
        asked.append(messages)
        assert vision == {"v2pe_delta": 0.5}
        good = math.log(0.9 if len(messages) == 1 else 0.2)
        return Reading(plus=good, minus=math.log1p(-math.exp(good)), prompt_tokens=10, cached_tokens=4)

    scores = await StepCritic("judge", read).score(CONVERSATION, "First.\n\nSecond.")
    assert scores.steps == ("First.", "Second.")
    assert scores.scores == pytest.approx((0.9, 0.2))
    assert (scores.prompt_tokens, scores.cached_tokens) == (20, 8)
    first, second = sorted(asked, key=len)
    assert list(second[: len(first)]) == list(first) and second[-1] == {"role": "user", "content": "Second."}


@pytest.mark.parametrize(("system", "first"), [("Judge.", "system"), ("", "user"), (None, "user")])
async def test_a_critic_gets_its_own_system_message(system, first):
    asked: list[Sequence[Message]] = []

    async def read(messages: Sequence[Message], vision: Mapping[str, Any]) -> Reading:
        asked.append(messages)
        return Reading(plus=0.0, minus=0.0, prompt_tokens=1, cached_tokens=0)

    await StepCritic("judge", read, system=system).score(CONVERSATION, "a\n\nb")
    assert [messages[0]["role"] for messages in asked] == [first, first]


async def test_all_steps_are_read_at_once():
    together = asyncio.Barrier(3)

    async def read(messages: Sequence[Message], vision: Mapping[str, Any]) -> Reading:
        await together.wait()
        return Reading(plus=0.0, minus=0.0, prompt_tokens=1, cached_tokens=0)

    async with asyncio.timeout(5):
        assert (await StepCritic("judge", read).score(CONVERSATION, "a\n\nb\n\nc")).scores == (0.5, 0.5, 0.5)


async def test_a_failure_is_a_critic_error_and_ends_the_other_readings():
    ended: list[str] = []

    async def read(messages: Sequence[Message], vision: Mapping[str, Any]) -> Reading:
        if len(messages) == 1:
            raise OSError("gone")
        try:
            return await asyncio.Event().wait()  # type: ignore[return-value]
        finally:
            ended.append("other")

    with pytest.raises(CriticError, match="OSError") as caught:
        await StepCritic("judge", read).score(CONVERSATION, "a\n\nb")
    assert isinstance(caught.value.__cause__, OSError)
    assert ended == ["other"]


async def test_labels_that_decide_nothing_are_a_critic_error():
    async def read(messages: Sequence[Message], vision: Mapping[str, Any]) -> Reading:
        return Reading(plus=-math.inf, minus=-math.inf, prompt_tokens=1, cached_tokens=0)

    with pytest.raises(CriticError):
        await StepCritic("judge", read).score(CONVERSATION, "a")
