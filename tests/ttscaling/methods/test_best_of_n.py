import asyncio
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ttscaling.scripted import QUESTION, Failed, Playback, ScriptedCritic, candidate, playback_of
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.selection.aggregation import aggregate
from ttscaling.types import Aggregation, CriticError, OnCriticError, Progress, Selection

WRONG, RIGHT, SLIP = "3 + 4 = 8.\n\nFinal answer: 8", "3 + 4 = 7.\n\nFinal answer: 7", "Final answer: 8"
SCORES = {WRONG: (0.2, 0.4), RIGHT: (0.9, 0.8), SLIP: (0.3,)}


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds, or fail the test if it never does."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the awaited state was never reached")


async def test_the_highest_score_wins_and_all_come_back_in_order() -> None:
    policy = playback_of([WRONG, RIGHT, SLIP], finish=[2, 0, 1])
    selection = await best_of_n(policy, ScriptedCritic(SCORES), QUESTION, n=3)
    assert selection.selected == 1
    assert selection.winner.candidate.text == RIGHT
    assert [entry.candidate.index for entry in selection.candidates] == [0, 1, 2]
    assert [entry.score for entry in selection.candidates] == pytest.approx([0.3, 0.85, 0.3])
    assert selection.winner.step_scores is not None
    assert selection.winner.step_scores.steps == ("3 + 4 = 7.", "Final answer: 7")
    assert selection.degraded is None


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=6),
    st.randoms(),
    st.sampled_from(["mean", "min", "last", "product", "max"]),
)
def test_the_winner_is_the_earliest_of_the_best_in_any_order(
    step_scores: list[list[float]], random: Random, aggregation: Aggregation
) -> None:
    texts = [f"answer {index}" for index in range(len(step_scores))]
    order = list(range(len(texts)))
    random.shuffle(order)
    policy = playback_of(texts, finish=order)
    critic = ScriptedCritic(dict(zip(texts, step_scores, strict=True)))

    async def select() -> Selection:
        return await best_of_n(policy, critic, QUESTION, n=len(texts), aggregation=aggregation)

    selection = asyncio.run(select())
    scores = [aggregate(scores, aggregation) for scores in step_scores]
    assert selection.selected == scores.index(max(scores))
    assert [entry.score for entry in selection.candidates] == scores
    assert sorted(critic.answers) == texts


async def test_the_first_is_scored_while_the_last_is_still_written() -> None:
    reports: list[Progress] = []
    await best_of_n(
        playback_of([WRONG, RIGHT]), ScriptedCritic(SCORES), QUESTION, n=2, on_progress=reports.append
    )
    assert [(report.finished, report.scored) for report in reports] == [(1, 0), (1, 1), (2, 1), (2, 2)]
    assert [report.latest.score for report in reports] == pytest.approx([None, 0.3, None, 0.85])


async def test_only_the_first_is_greedy_and_only_if_include_greedy() -> None:
    for include_greedy, greedy in ((True, [0]), (False, [])):
        policy = playback_of([WRONG, RIGHT])
        await best_of_n(policy, ScriptedCritic(SCORES), QUESTION, n=2, include_greedy=include_greedy)
        assert (policy.begun, policy.greedy) == ([0, 1], greedy)


async def test_cancelling_ends_sampling_and_scoring() -> None:
    policy, critic = playback_of([WRONG, RIGHT]), ScriptedCritic(SCORES, hang=True)
    running = asyncio.create_task(best_of_n(policy, critic, QUESTION, n=3))
    await until(lambda: len(critic.answers) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert policy.closed
    assert critic.cancelled == 2


async def test_a_failing_on_progress_ends_sampling_at_once() -> None:
    def gone(progress: Progress) -> None:
        raise ConnectionError("the client is gone")

    policy = playback_of([WRONG])
    with pytest.raises(ConnectionError, match="the client is gone"):
        await best_of_n(policy, ScriptedCritic(SCORES), QUESTION, n=2, on_progress=gone)
    assert policy.closed


async def test_a_failing_policy_ends_scoring_and_passes_through() -> None:
    died = Failed(index=1, error=RuntimeError("the engine died"))
    policy, critic = Playback([candidate(0, WRONG), died]), ScriptedCritic(SCORES, hang=True)
    with pytest.raises(RuntimeError, match="the engine died"):
        await best_of_n(policy, critic, QUESTION, n=3)
    assert policy.closed
    assert critic.cancelled == 1


async def test_a_failing_critic_ends_sampling_at_once() -> None:
    policy = playback_of([WRONG])
    with pytest.raises(CriticError, match="no scores for"):
        await best_of_n(policy, ScriptedCritic({}), QUESTION, n=2, on_critic_error="fail")
    assert policy.closed


@pytest.mark.parametrize("fallback", ["first", "self_consistency"])
async def test_a_candidate_without_a_score_cannot_win(fallback: OnCriticError) -> None:
    """Most candidates say 8, and candidate 0 is right, but the critic scores only candidate 3."""
    texts = [RIGHT, WRONG, SLIP, "Final answer: 9"]
    critic = ScriptedCritic({"Final answer: 9": (0.1,)})
    policy = playback_of(texts, finish=[3, 0, 1, 2])
    selection = await best_of_n(policy, critic, QUESTION, n=4, on_critic_error=fallback)
    assert selection.selected == 3
    assert [entry.score for entry in selection.candidates] == [None, None, None, 0.1]
    assert selection.degraded is not None
    assert "candidate 1 has no score: no scores for" in selection.degraded
    assert fallback not in selection.degraded


@pytest.mark.parametrize(("fallback", "selected"), [("first", 0), ("self_consistency", 1)])
async def test_without_any_score_it_falls_back_and_names_the_fallback(
    fallback: OnCriticError, selected: int
) -> None:
    policy = playback_of([RIGHT, WRONG, SLIP], finish=[2, 0, 1])
    selection = await best_of_n(policy, ScriptedCritic({}), QUESTION, n=3, on_critic_error=fallback)
    assert selection.selected == selected
    assert selection.degraded is not None
    assert f"on_critic_error={fallback}" in selection.degraded
    assert all(entry.score is None for entry in selection.candidates)


async def test_no_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await best_of_n(playback_of([]), ScriptedCritic({}), QUESTION, n=0)
