"""A selection's usage counts what was finished, failed, cut off and cancelled."""

import asyncio

import pytest

from tests.ttscaling.scripted import QUESTION, Failed, Playback, ScriptedCritic, candidate
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.selection.stopping import StopRule
from ttscaling.types import (
    Conversation,
    CriticError,
    InvalidCandidate,
    PolicyError,
    StepScores,
    TokenUsage,
)


class FailingCritic:
    """A critic that fails after it has read 30 tokens, 7 of them from its cache."""

    name = "failing"

    async def score(self, conversation: Conversation, answer: str) -> StepScores:
        await asyncio.sleep(0)
        raise CriticError("NaN", usage=TokenUsage(critic_prompt=30, critic_cached=7))


async def test_candidates_that_fail_or_are_invalid_are_counted() -> None:
    failure = PolicyError("HTTP 500", usage=TokenUsage(prompt=10, completion=4))
    invalid = InvalidCandidate(candidate(2, "{", tokens=5), "no JSON")
    policy = Playback(
        [candidate(0, "7", tokens=3), Failed(index=1, error=failure), Failed(index=2, error=invalid)]
    )
    selection = await self_consistency(policy, QUESTION, n=3)
    assert selection.usage == TokenUsage(prompt=30, completion=12)


async def test_a_critic_that_fails_is_counted() -> None:
    policy = Playback([candidate(0, "7", tokens=3), candidate(1, "8", tokens=4)])
    selection = await best_of_n(policy, FailingCritic(), QUESTION, n=2, on_critic_error="first")
    assert selection.usage == TokenUsage(prompt=20, completion=7, critic_prompt=60, critic_cached=14)
    policy = Playback([candidate(0, "7", tokens=3), candidate(1, "8", tokens=4)])
    with pytest.raises(CriticError) as error:
        await best_of_n(policy, FailingCritic(), QUESTION, n=2)
    assert error.value.usage == TokenUsage(prompt=10, completion=3, critic_prompt=30, critic_cached=7)


async def test_candidates_that_are_cancelled_are_counted_as_far_as_they_were_written() -> None:
    drafts = [candidate(1, "so", tokens=2, reason=None), candidate(1, "so 8", tokens=6, reason=None)]
    policy = Playback([*drafts, candidate(0, "7", tokens=3), candidate(1, "so 8.", tokens=8)])
    selection = await best_of_n(
        policy, ScriptedCritic({"7": (0.9,)}), QUESTION, n=2, stop=StopRule(score=0.9)
    )
    assert (selection.stopped, policy.abandoned) == ("score", [1])
    assert selection.usage == TokenUsage(prompt=20, completion=9, critic_prompt=5)


async def test_what_the_time_cap_cuts_off_is_counted() -> None:
    policy = Playback([candidate(0, "so", tokens=2, reason=None)])
    selection = await self_consistency(policy, QUESTION, n=1, stop=StopRule(max_seconds=0.05))
    assert selection.stopped == "seconds"
    assert selection.usage == TokenUsage(prompt=10, completion=2)


async def test_an_error_says_what_all_candidates_took() -> None:
    failures = [
        Failed(index=index, error=PolicyError("HTTP 500", usage=TokenUsage(prompt=10))) for index in range(2)
    ]
    with pytest.raises(PolicyError) as error:
        await self_consistency(Playback(failures), QUESTION, n=2)
    assert error.value.usage == TokenUsage(prompt=20)
