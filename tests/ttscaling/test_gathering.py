import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ttscaling.best_of_n import best_of_n
from ttscaling.self_consistency import self_consistency
from ttscaling.stopping import StopRule
from ttscaling.types import (
    ABANDONED,
    CriticError,
    FailedCandidate,
    OutOfTime,
    PolicyError,
    Progress,
    Selection,
)

from .scripted import QUESTION, Playback, ScriptedCritic, ScriptedPolicy, candidate

SCORES = {"one": (0.5,), "two": (0.9,), "three": (0.7,)}


async def select(
    policy: Playback, scores: Mapping[str, Sequence[float]] = SCORES, *, n: int, **options: Any
) -> Selection:
    return await best_of_n(policy, ScriptedCritic(scores), QUESTION, n=n, on_critic_error="first", **options)


def texts(selection: Selection) -> list[str]:
    return [entry.candidate.text for entry in selection.candidates]


async def test_same_answers_are_scored_once() -> None:
    """Before the first of them is scored, and after; its tokens count once."""
    policy = Playback([candidate(index, text) for index, text in enumerate(["one", "two", "one", "one"])])
    critic = ScriptedCritic(SCORES)
    reports: list[Progress] = []
    selection = await best_of_n(policy, critic, QUESTION, n=4, on_progress=reports.append)
    assert critic.seen == ["one", "two"]
    assert [entry.score for entry in selection.candidates] == [0.5, 0.9, 0.5, 0.5]
    judged = [entry.step_scores for entry in selection.candidates]
    assert [scores and scores.prompt_tokens for scores in judged] == [5, 5, 0, 0]
    assert (reports[-1].finished, reports[-1].scored) == (4, 4)
    together = ScriptedPolicy(["one"] * 3)  # all end before the critic has answered
    critic = ScriptedCritic(SCORES)
    selection = await best_of_n(together, critic, QUESTION, n=3)
    assert critic.seen == ["one"]
    assert [entry.score for entry in selection.candidates] == [0.5] * 3


async def test_a_failed_candidate_is_left_out() -> None:
    policy = Playback([FailedCandidate(index=0, reason="HTTP 500"), candidate(1, "one"), candidate(2, "two")])
    selection = await select(policy, n=3)
    assert (selection.selected, texts(selection)) == (2, ["one", "two"])
    assert selection.winner.candidate.text == "two"
    assert selection.degraded == "candidate 0 failed: HTTP 500"
    assert selection.stopped is None
    voted = await self_consistency(policy, QUESTION, n=3)
    assert (voted.selected, voted.degraded) == (1, "candidate 0 failed: HTTP 500")


async def test_no_candidate_at_all_is_an_error() -> None:
    policy = Playback([FailedCandidate(index=index, reason=f"reason {index}") for index in range(2)])
    with pytest.raises(
        PolicyError, match=r"no candidate was finished: candidate 0 failed: reason 0; .* reason 1"
    ):
        await select(policy, n=2)


async def test_fail_means_any_failure_of_the_critic() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "unknown")], hang=True)
    with pytest.raises(CriticError, match="no scores for 'unknown'"):
        await best_of_n(policy, ScriptedCritic(SCORES), QUESTION, n=3, on_critic_error="fail")
    assert policy.closed


async def test_a_good_enough_score_ends_it() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "two")], hang=True)
    selection = await select(policy, n=5, stop=StopRule(score=0.9))
    assert (selection.selected, selection.stopped, texts(selection)) == (1, "score", ["one", "two"])
    assert policy.closed


async def test_the_last_candidate_ends_it_without_a_reason() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "two")])
    selection = await select(policy, n=2, stop=StopRule(score=0.9, max_tokens=6))
    assert (selection.selected, selection.stopped) == (1, None)


async def test_votes_that_agree_end_it() -> None:
    policy = Playback([candidate(index, "Final answer: 7") for index in range(4)], hang=True)
    selection = await self_consistency(policy, QUESTION, n=9, stop=StopRule(agreement=0.95))
    assert (selection.stopped, len(selection.candidates)) == ("agreement", 4)
    assert policy.closed


async def test_with_a_critic_a_vote_weighs_its_score() -> None:
    """1 - 2 ** -(votes + 1) passes .95 between 3 and 3.5 votes."""
    answers = [candidate(index, "Final answer: 7") for index in range(8)]
    for score, needed in ((1.0, 4), (0.5, 7)):
        policy = Playback(answers, hang=True)
        selection = await select(policy, {"Final answer: 7": (score,)}, n=9, stop=StopRule(agreement=0.95))
        assert (selection.stopped, len(selection.candidates)) == ("agreement", needed)


async def test_at_the_token_cap_what_is_finished_is_scored() -> None:
    policy = Playback([candidate(0, "one", tokens=50), candidate(1, "two", tokens=51)], hang=True)
    selection = await select(policy, n=3, stop=StopRule(max_tokens=100))
    assert (selection.selected, selection.stopped) == (1, "tokens")
    assert [entry.score for entry in selection.candidates] == [0.5, 0.9]


async def test_drafts_count_towards_the_token_cap_and_are_told() -> None:
    policy = Playback([candidate(0, "one", tokens=50), candidate(1, "tw", tokens=60, reason=None)], hang=True)
    selection = await select(policy, n=2, stop=StopRule(max_tokens=100))
    assert (selection.selected, selection.stopped) == (0, "tokens")
    assert [entry.candidate.finish_reason for entry in selection.candidates] == ["stop", ABANDONED]
    assert sum(entry.candidate.completion_tokens for entry in selection.candidates) == 110


async def test_at_the_time_cap_the_best_so_far_is_returned() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "two")], hang=True)
    selection = await select(policy, n=3, stop=StopRule(max_seconds=0.5))
    assert (selection.selected, selection.stopped, selection.degraded) == (1, "seconds", None)
    assert policy.closed


async def test_a_critic_that_hangs_cannot_hold_an_answer_back() -> None:
    critic = ScriptedCritic(SCORES, hang=True)
    policy = Playback(
        [candidate(0, "Final answer: 1"), candidate(1, "Final answer: 2"), candidate(2, "\\boxed{2}")]
    )
    stop = StopRule(max_seconds=0.5)
    selection = await best_of_n(policy, critic, QUESTION, n=3, on_critic_error="self_consistency", stop=stop)
    assert (selection.selected, selection.stopped) == (1, "seconds")
    assert selection.degraded is not None
    assert critic.cancelled == 3


async def test_time_over_without_an_answer() -> None:
    with pytest.raises(OutOfTime, match=r"no candidate was finished within 0\.01 seconds"):
        await select(Playback([], hang=True), n=2, stop=StopRule(max_seconds=0.01))
    drafts = [candidate(0, "on", reason=None), candidate(1, "tw", reason=None)]
    selection = await select(Playback(drafts, hang=True), n=2, stop=StopRule(max_seconds=0.5))
    assert (selection.selected, selection.stopped) == (0, "seconds")
    assert [entry.candidate.finish_reason for entry in selection.candidates] == ["length", "length"]


async def test_a_callers_timeout_is_not_ours() -> None:
    policy = Playback([candidate(0, "one")], hang=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await select(policy, n=2, stop=StopRule(max_seconds=60))
    assert policy.closed
