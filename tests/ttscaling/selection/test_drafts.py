"""Drafts are ended when their step scores show that they can't win."""

from typing import Any

import pytest

from tests.ttscaling.scripted import QUESTION, Playback, ScriptedCritic, candidate
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.selection.stopping import StopRule
from ttscaling.types import ABANDONED, Selection

GOOD, BAD_START = "a\n\nb", "x"
SCORES = {
    GOOD: (0.8, 0.8),
    BAD_START: (0.3,),
    "x\n\ny": (0.3, 0.9),
    "x\n\ny\n\nz": (0.3, 0.9, 1.0),
    "a": (0.8,),
}
LOSER = candidate(1, "x\n\ny", tokens=4, reason=None)
FINISHED = candidate(1, "x\n\ny\n\nz", tokens=9)


async def select(policy: Playback, critic: ScriptedCritic, **options: Any) -> Selection:
    stop = StopRule(abandon_losers=True, max_steps=options.pop("max_steps", None))
    return await best_of_n(policy, critic, QUESTION, n=2, stop=stop, **options)


async def test_a_draft_that_cannot_win_is_abandoned() -> None:
    policy, critic = Playback([candidate(0, GOOD), LOSER, FINISHED]), ScriptedCritic(SCORES)
    selection = await select(policy, critic, aggregation="min")
    assert policy.abandoned == [1]
    assert critic.answers == [GOOD, BAD_START]
    assert (selection.selected, selection.stopped, selection.degraded) == (0, None, None)
    lost = selection.candidates[1]
    assert (lost.candidate.finish_reason, lost.candidate.completion_tokens, lost.score) == (
        ABANDONED,
        4,
        None,
    )
    assert lost.step_scores is not None
    assert lost.step_scores.scores == (0.3,)


async def test_a_loser_is_abandoned_also_when_the_better_one_is_finished_later() -> None:
    policy = Playback([LOSER, candidate(0, GOOD), FINISHED])
    selection = await select(policy, ScriptedCritic(SCORES), aggregation="product")
    assert policy.abandoned == [1]
    assert selection.selected == 0


async def test_under_the_mean_only_a_bound_on_steps_decides() -> None:
    """(.3 + 1) / 2 is below .8, and (.3 + 1 + 1 + 1) / 4 is above."""
    for max_steps, abandoned in ((2, [1]), (4, []), (None, [])):
        policy = Playback([candidate(0, GOOD), LOSER, FINISHED])
        selection = await select(policy, ScriptedCritic(SCORES), max_steps=max_steps)
        assert policy.abandoned == abandoned
        assert selection.selected == 0


async def test_without_the_rule_drafts_are_not_scored() -> None:
    policy, critic = Playback([candidate(0, GOOD), LOSER, FINISHED]), ScriptedCritic(SCORES)
    selection = await best_of_n(policy, critic, QUESTION, n=2, aggregation="min")
    assert critic.answers == [GOOD, FINISHED.text]
    assert [entry.score for entry in selection.candidates] == [0.8, 0.3]


async def test_a_draft_without_a_finished_step_is_not_scored() -> None:
    policy = Playback([candidate(0, GOOD), candidate(1, "x and so", reason=None), FINISHED])
    critic = ScriptedCritic(SCORES)
    await select(policy, critic, aggregation="min")
    assert critic.answers == [GOOD, FINISHED.text]


async def test_a_critic_that_fails_on_a_draft_abandons_no_candidate() -> None:
    policy = Playback([candidate(0, GOOD), LOSER, FINISHED])
    critic = ScriptedCritic({text: scores for text, scores in SCORES.items() if text != BAD_START})
    selection = await select(policy, critic, aggregation="min", on_critic_error="fail")
    assert policy.abandoned == []
    assert [entry.score for entry in selection.candidates] == [0.8, 0.3]


async def test_an_error_on_a_draft_that_is_none_of_the_critics_ends_the_selection() -> None:
    class Broken(ScriptedCritic):
        async def score(self, conversation: Any, answer: str) -> Any:
            if answer == BAD_START:
                raise RuntimeError("a bug")
            return await super().score(conversation, answer)

    policy = Playback([LOSER, candidate(0, GOOD), FINISHED])
    with pytest.raises(RuntimeError, match="a bug"):
        await select(policy, Broken(SCORES), aggregation="min")
    assert policy.closed


async def test_the_critic_is_given_the_steps_that_the_finished_answer_has() -> None:
    """Three newlines: the second step begins with a newline, and the first doesn't end with one."""
    draft = candidate(1, "x\n\n\ny", tokens=4, reason=None)
    critic = ScriptedCritic(SCORES)
    await select(Playback([candidate(0, GOOD), draft, FINISHED]), critic, aggregation="min")
    assert critic.answers == [GOOD, BAD_START]


async def test_a_critic_that_hangs_on_a_draft_is_not_waited_for() -> None:
    """The scoring of a draft is cancelled when its candidate ends."""
    policy = Playback([LOSER, FINISHED, candidate(0, GOOD)])

    class Slow(ScriptedCritic):
        async def score(self, conversation: Any, answer: str) -> Any:
            self._hang = answer == BAD_START
            return await super().score(conversation, answer)

    critic = Slow(SCORES)
    selection = await select(policy, critic, aggregation="min")
    assert critic.cancelled == 1
    assert [entry.score for entry in selection.candidates] == [0.8, 0.3]


async def test_an_abandoned_candidate_makes_room_for_the_next() -> None:
    policy = Playback([candidate(0, GOOD), LOSER, candidate(2, "a")])
    stop = StopRule(abandon_losers=True, max_parallel=2)
    selection = await best_of_n(policy, ScriptedCritic(SCORES), QUESTION, n=3, stop=stop, aggregation="min")
    assert (policy.begun, policy.abandoned, selection.stopped) == ([0, 1, 2], [1], None)
    assert [entry.score for entry in selection.candidates] == [0.8, None, 0.8]
