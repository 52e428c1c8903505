import asyncio

import pytest

from tests.ttscaling.scripted import QUESTION, Failed, Playback, ScriptedCritic, candidate
from tests.ttscaling.selection.short_answers import SCORES, select, texts
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.selection.stopping import StopRule
from ttscaling.types import (
    ABANDONED,
    Candidate,
    CriticError,
    InvalidCandidate,
    OutOfTime,
    PolicyError,
    Progress,
)


async def test_same_answers_are_scored_once() -> None:
    """This holds before and after the first of them is scored, and the critic's tokens count once."""
    policy = Playback([candidate(index, text) for index, text in enumerate(["one", "two", "one", "one"])])
    critic = ScriptedCritic(SCORES)
    reports: list[Progress] = []
    selection = await best_of_n(policy, critic, QUESTION, n=4, on_progress=reports.append)
    assert critic.answers == ["one", "two"]
    assert [entry.score for entry in selection.candidates] == [0.5, 0.9, 0.5, 0.5]
    step_scores = [entry.step_scores for entry in selection.candidates]
    assert [scores and scores.prompt_tokens for scores in step_scores] == [5, 5, 0, 0]
    assert (reports[-1].finished, reports[-1].scored) == (4, 4)
    together = Playback(
        [candidate(index, "one") for index in range(3)], pause=0
    )  # all end before the critic has returned
    critic = ScriptedCritic(SCORES)
    selection = await best_of_n(together, critic, QUESTION, n=3)
    assert critic.answers == ["one"]
    assert [entry.score for entry in selection.candidates] == [0.5] * 3


async def test_a_failed_candidate_is_left_out() -> None:
    script: list[Candidate | Failed] = [
        Failed(index=0, error=PolicyError("HTTP 500")),
        candidate(1, "one"),
        candidate(2, "two"),
    ]
    selection = await select(Playback(script), n=3)
    assert (selection.selected, texts(selection)) == (2, ["one", "two"])
    assert selection.winner.candidate.text == "two"
    assert (selection.degraded, selection.failed) == ("candidate 0 failed: HTTP 500", 1)
    assert selection.stopped is None
    voted = await self_consistency(Playback(script), QUESTION, n=3)
    assert (voted.selected, voted.degraded) == (1, "candidate 0 failed: HTTP 500")


async def test_an_invalid_candidate_is_chosen_only_if_all_are() -> None:
    def invalid(index: int, text: str) -> Failed:
        error = InvalidCandidate(candidate(index, text, tokens=40), "it is no JSON")
        return Failed(index=index, error=error)

    selection = await select(Playback([invalid(0, "two"), candidate(1, "one")]), n=2)
    assert (selection.selected, texts(selection)) == (1, ["one"])
    assert selection.degraded == "candidate 0 failed: it is no JSON"
    selection = await select(Playback([invalid(1, "one"), invalid(0, "two")]), n=2)
    assert (selection.selected, texts(selection), selection.winner.score) == (0, ["two"], None)
    assert "candidate 1 failed: it is no JSON" in str(selection.degraded)
    assert "no candidate is valid" in str(selection.degraded) and not selection.valid
    assert "critic" not in str(selection.degraded), "it was not even asked"
    capped = Playback([invalid(0, "two"), candidate(1, "one"), candidate(2, "two")])
    selection = await select(capped, n=4, stop=StopRule(max_tokens=42))
    assert (texts(selection), selection.stopped) == (["one"], "tokens"), "its tokens count"


async def test_no_candidate_at_all_is_an_error() -> None:
    policy = Playback([Failed(index=index, error=PolicyError(f"reason {index}")) for index in range(2)])
    with pytest.raises(
        PolicyError, match=r"no candidate was finished: candidate 0 failed: reason 0; .* reason 1"
    ):
        await select(policy, n=2)


async def test_fail_means_any_failure_of_the_critic() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "unknown")])
    with pytest.raises(CriticError, match="no scores for 'unknown'"):
        await best_of_n(policy, ScriptedCritic(SCORES), QUESTION, n=3, on_critic_error="fail")
    assert policy.closed


async def test_a_timeout_of_the_policy_or_the_critic_is_no_time_cap() -> None:
    late = Playback([Failed(index=0, error=TimeoutError("the socket"))])
    for stop in (StopRule(), StopRule(max_seconds=60)):
        with pytest.raises(TimeoutError, match="the socket"):
            await self_consistency(late, QUESTION, n=1, stop=stop)
        late = Playback([Failed(index=0, error=TimeoutError("the socket"))])


async def test_at_the_token_cap_finished_candidates_are_scored() -> None:
    policy = Playback([candidate(0, "one", tokens=50), candidate(1, "two", tokens=51)])
    selection = await select(policy, n=3, stop=StopRule(max_tokens=100))
    assert (selection.selected, selection.stopped) == (1, "tokens")
    assert [entry.score for entry in selection.candidates] == [0.5, 0.9]


async def test_drafts_count_towards_the_token_cap_and_are_returned() -> None:
    policy = Playback([candidate(0, "one", tokens=50), candidate(1, "tw", tokens=60, reason=None)])
    selection = await select(policy, n=2, stop=StopRule(max_tokens=100))
    assert (selection.selected, selection.stopped) == (0, "tokens")
    assert [entry.candidate.finish_reason for entry in selection.candidates] == ["stop", ABANDONED]
    assert sum(entry.candidate.completion_tokens for entry in selection.candidates) == 110


async def test_at_the_token_cap_drafts_are_scored_if_nothing_is_finished() -> None:
    drafts = [candidate(0, "one", tokens=50, reason=None), candidate(1, "two", tokens=60, reason=None)]
    selection = await best_of_n(
        Playback(drafts), ScriptedCritic(SCORES), QUESTION, n=3, stop=StopRule(max_tokens=100)
    )
    assert (selection.selected, selection.stopped, selection.degraded) == (1, "tokens", None)
    assert [entry.score for entry in selection.candidates] == [0.5, 0.9]
    assert [entry.candidate.finish_reason for entry in selection.candidates] == ["length", "length"]


async def test_beyond_the_token_cap_no_draft_is_abandoned_again() -> None:
    """A draft that the cap has ended turns out to be a loser while finished candidates are still scored."""
    script = [
        candidate(1, "one\n\nan", tokens=20, reason=None),
        candidate(1, "one\n\nand more", tokens=30, reason=None),
        candidate(0, "two", tokens=70),
    ]
    stop = StopRule(max_tokens=100, abandon_losers=True)
    selection = await select(Playback(script), n=2, stop=stop, aggregation="min")
    assert (selection.selected, selection.stopped) == (0, "tokens")
    assert [entry.candidate.finish_reason for entry in selection.candidates] == ["stop", ABANDONED]


async def test_at_the_time_cap_the_best_so_far_is_returned() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "two")])
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
    with pytest.raises(CriticError, match="no score within"):
        again = Playback([candidate(0, "Final answer: 1")])
        await best_of_n(again, critic, QUESTION, n=1, on_critic_error="fail", stop=stop)


async def test_time_over_without_an_answer() -> None:
    with pytest.raises(OutOfTime, match=r"no candidate was finished within 0\.01 seconds"):
        await select(Playback([]), n=2, stop=StopRule(max_seconds=0.01))
    drafts = [candidate(0, "on", reason=None), candidate(1, "tw", reason=None)]
    selection = await select(Playback(drafts), n=2, stop=StopRule(max_seconds=0.5))
    assert (selection.selected, selection.stopped) == (0, "seconds")
    assert [entry.candidate.finish_reason for entry in selection.candidates] == ["length", "length"]


async def test_a_timeout_of_the_caller_passes_through() -> None:
    policy = Playback([candidate(0, "one")])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await select(policy, n=2, stop=StopRule(max_seconds=60))
    assert policy.closed
