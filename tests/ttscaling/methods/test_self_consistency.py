import asyncio

import pytest

from tests.ttscaling.scripted import QUESTION, Failed, Playback, candidate, playback_of
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.types import InvalidCandidate, Progress


async def test_the_most_frequent_final_answer_wins_by_its_first_candidate() -> None:
    texts = [
        "Final answer: 6",
        "no answer,\ncut off",
        "4 + 3.\n\nFinal answer: 7",
        "So \\boxed{7.0}",
        "no\nanswer",
    ]
    reports: list[Progress] = []
    policy = playback_of(texts, finish=[4, 3, 2, 1, 0])
    selection = await self_consistency(policy, QUESTION, n=5, on_progress=reports.append)
    assert selection.selected == 2 and selection.degraded is None
    assert [(vote.answer, vote.candidates, vote.score) for vote in selection.votes] == [
        ("7", (2, 3), None),
        ("6", (0,), None),
    ]
    assert [entry.candidate.text for entry in selection.candidates] == texts
    assert all(entry.score is None and entry.step_scores is None for entry in selection.candidates)
    assert [(report.finished, report.scored) for report in reports] == [(n, 0) for n in range(1, 6)]


async def test_a_vote_in_which_nobody_states_an_answer_says_so() -> None:
    selection = await self_consistency(playback_of(["A man\nrides", "A dog\nruns"]), QUESTION, n=2)
    assert selection.selected == 0 and selection.votes == ()
    assert selection.degraded == (
        "no candidate states a final answer, so there was no vote; the first candidate was chosen"
    )


async def test_a_choice_among_invalid_candidates_says_so() -> None:
    invalid = [
        Failed(index=index, error=InvalidCandidate(candidate(index, "{"), "it is no JSON"))
        for index in range(2)
    ]
    selection = await self_consistency(Playback(invalid), QUESTION, n=2)
    assert (selection.selected, selection.valid, selection.failed) == (0, False, 2)
    assert selection.degraded is not None
    assert selection.degraded.endswith("no candidate is valid; the first one was chosen")


async def test_cancelling_ends_sampling() -> None:
    policy = playback_of(["7"])
    running = asyncio.create_task(self_consistency(policy, QUESTION, n=2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert policy.closed


async def test_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="the engine died"):
        await self_consistency(
            Playback([Failed(index=0, error=RuntimeError("the engine died"))]), QUESTION, n=2
        )
    with pytest.raises(ValueError, match="at least 1"):
        await self_consistency(playback_of([]), QUESTION, n=0)
