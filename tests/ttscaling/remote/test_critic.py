import asyncio
import math
from typing import Any

import httpx
import pytest

from tests.ttscaling.remote.test_chat_requests import QUESTION, USAGE, completion, reading, server
from ttscaling.remote.critic import RemoteCritic
from ttscaling.remote.policy import RemotePolicy
from ttscaling.types import CriticError, PolicyError, TokenUsage

OTHERS = {f"word {number}": -18.0 - number for number in range(19)}


@pytest.mark.parametrize(("label", "score"), [("+", 1.0), ("-", 0.0)])
async def test_the_surest_answers_have_a_score(label: str, score: float) -> None:
    """P of the other label is below that of the twentieth token, about 1e-16 here."""

    async def reply(body: dict[str, Any]) -> httpx.Response:
        return reading(**{label: -1e-7, **OTHERS})

    scores = await RemoteCritic(server(reply), model="prm").score(QUESTION, "a")
    assert scores.scores == pytest.approx((score,), abs=1e-12)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"+": -0.1, "yes": -2.4},  # the label that is missing may have as much as "yes"
        {"+": -0.0001},
        {"yes": -0.1, "no": -2.4},
        {},
    ],
)
async def test_a_label_that_may_matter_is_not_guessed(logprobs: dict[str, float]) -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        return reading(**logprobs)

    with pytest.raises(CriticError, match="not both among the tokens") as failure:
        await RemoteCritic(server(reply), model="prm").score(QUESTION, "a")
    assert failure.value.usage == TokenUsage(critic_prompt=20, critic_cached=16)


async def test_no_more_requests_are_sent_at_once_than_allowed() -> None:
    running = most = 0

    async def reply(body: dict[str, Any]) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return reading(**{"+": -0.1, "-": -2.4})

    critic = RemoteCritic(server(reply), model="prm", max_parallel=3)
    answers = ["\n\n".join("abcd"), "\n\n".join("efgh")]
    scores = await asyncio.gather(*(critic.score(QUESTION, answer) for answer in answers))
    assert most == 3
    assert [len(each.scores) for each in scores] == [4, 4]


@pytest.mark.parametrize("status", [429, 502, 503, 504, None])
async def test_requests_are_sent_again_while_the_server_is_busy_or_gone(status: int | None) -> None:
    attempts = 0

    async def reply(body: dict[str, Any]) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        if attempts % 3:
            if status is None:
                raise httpx.ConnectError("refused")
            return httpx.Response(status, text="busy", headers={"retry-after": "0"})
        return reading(**{"+": math.log(0.9), "-": math.log(0.1)}) if "logprobs" in body else completion("7")

    critic = RemoteCritic(server(reply), model="prm", pauses=(0.0, 0.0))
    assert (await critic.score(QUESTION, "a")).scores == pytest.approx((0.9,))
    policy = RemotePolicy(server(reply), model="nano", sampling={}, pauses=(0.0, 0.0))
    assert (await policy.sample(QUESTION, index=0, greedy=True)).text == "7"
    assert attempts == 6
    with pytest.raises(CriticError):
        await RemoteCritic(server(reply), model="prm", pauses=(0.0,)).score(QUESTION, "a")
    assert attempts == 8


async def test_a_refused_request_is_not_sent_again() -> None:
    attempts = 0

    async def reply(body: dict[str, Any]) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        return httpx.Response(400, text="the model has no such token")

    with pytest.raises(CriticError, match="HTTP 400: the model has no such token"):
        await RemoteCritic(server(reply), model="prm").score(QUESTION, "a")
    assert attempts == 1


async def test_a_reply_that_cannot_be_used_counts_its_tokens() -> None:
    async def reply(body: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, json={"choices": [], "usage": USAGE})

    with pytest.raises(PolicyError) as failure:
        await RemotePolicy(server(reply), model="nano", sampling={}).sample(QUESTION, index=0, greedy=True)
    assert failure.value.usage == TokenUsage(prompt=20, cached=16, completion=6)
