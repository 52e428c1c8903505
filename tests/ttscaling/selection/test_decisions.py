import asyncio
from typing import Any

import pytest

from tests.ttscaling.scripted import QUESTION, Failed, Playback, ScriptedCritic, candidate
from tests.ttscaling.selection.short_answers import select, texts
from ttscaling.methods.best_of_n import best_of_n
from ttscaling.methods.self_consistency import self_consistency
from ttscaling.methods.weighted_vote import weighted_vote
from ttscaling.selection.stopping import StopRule
from ttscaling.types import (
    Candidate,
    Conversation,
    PolicyError,
)


async def test_a_high_enough_score_ends_the_selection() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "two")])
    selection = await select(policy, n=5, stop=StopRule(score=0.9))
    assert (selection.selected, selection.stopped, texts(selection)) == (1, "score", ["one", "two"])
    assert policy.closed


async def test_the_last_candidate_ends_the_selection_without_a_reason() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "two")])
    selection = await select(policy, n=2, stop=StopRule(score=0.9, max_tokens=6))
    assert (selection.selected, selection.stopped) == (1, None)


async def test_votes_that_agree_end_the_selection() -> None:
    policy = Playback([candidate(index, "Final answer: 7") for index in range(4)])
    selection = await self_consistency(policy, QUESTION, n=9, stop=StopRule(agreement=0.95))
    assert (selection.stopped, len(selection.candidates)) == ("agreement", 4)
    assert policy.closed


@pytest.mark.parametrize(("n", "begun"), [(2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (9, 4)])
async def test_no_more_votes_are_begun_than_can_decide(n: int, begun: int) -> None:
    """Four votes agree surely enough; of few candidates, fewer votes can't be overtaken."""
    policy = Playback([candidate(index, "Final answer: 7") for index in range(n)])
    selection = await self_consistency(policy, QUESTION, n=n, stop=StopRule(agreement=0.95))
    assert sorted(policy.begun) == list(range(begun))
    assert selection.stopped == (None if n == begun else "agreement")


async def test_with_a_critic_a_vote_weighs_its_score() -> None:
    """The probability 1 - 2 ** -(votes + 1) passes .95 between 3 and 3.5 votes."""
    answers = [candidate(index, "Final answer: 7") for index in range(8)]
    for score, needed in ((1.0, 4), (0.5, 7)):
        policy = Playback(answers)
        selection = await select(policy, {"Final answer: 7": (score,)}, n=9, stop=StopRule(agreement=0.95))
        assert (selection.stopped, len(selection.candidates)) == ("agreement", needed)


async def test_an_agreement_on_another_answer_than_the_best_candidates_ends_nothing() -> None:
    """Four candidates agree on 7, but the 8 has the highest score and would be chosen."""
    scores = {"Final answer: 8": 0.95, "Final answer: 7": 0.9, "Final answer: 9": 0.99}
    answers = ["8", "7", "7", "7", "7", "7", "9"]
    policy = Playback([candidate(index, f"Final answer: {answer}") for index, answer in enumerate(answers)])
    selection = await select(
        policy, {text: (score,) for text, score in scores.items()}, n=7, stop=StopRule(agreement=0.8)
    )
    assert (selection.stopped, selection.selected, len(selection.candidates)) == (None, 6, 7)


async def test_under_a_vote_the_score_rule_is_about_the_answer_that_leads() -> None:
    """The 7 has the score, but the two 8 weigh more, so the 7 would not be chosen."""
    scores = {"Final answer: 8": (0.5,), "Final answer: 7": (0.95,)}
    script = [candidate(index, f"Final answer: {answer}") for index, answer in enumerate("8878")]
    stop = StopRule(score=0.9, max_parallel=4)
    selection = await weighted_vote(Playback(script), ScriptedCritic(scores), QUESTION, n=4, stop=stop)
    assert (selection.stopped, selection.winner.candidate.text) == (None, "Final answer: 8")


async def test_no_more_candidates_are_begun_than_an_agreement_needs() -> None:
    """Four votes of four agree. While four are being written, no fifth is begun."""
    policy = Playback([candidate(index, "Final answer: 7") for index in range(16)])
    selection = await self_consistency(policy, QUESTION, n=16, stop=StopRule(agreement=0.95))
    assert (selection.stopped, policy.begun) == ("agreement", [0, 1, 2, 3])


async def test_votes_that_cannot_be_overtaken_end_the_selection() -> None:
    """3 votes of 4 can't be overtaken, whatever the posterior says."""
    policy = Playback([candidate(index, "Final answer: 7") for index in range(3)])
    selection = await self_consistency(policy, QUESTION, n=4, stop=StopRule(agreement=0.99, max_parallel=4))
    assert (selection.stopped, len(selection.candidates), policy.abandoned) == ("agreement", 3, [3])


async def test_a_vote_that_only_joined_the_leader_does_not_make_it_safe() -> None:
    """The 5 without a unit counts for 5 cm only until an answer has another unit."""
    answers = ["5 cm", "5 cm", "5 cm", "5", "5", "5", "7", "7", "7", "7", "5 m"]
    policy = Playback([candidate(index, f"Final answer: {answer}") for index, answer in enumerate(answers)])
    stop = StopRule(agreement=0.99999, max_parallel=11)
    selection = await self_consistency(policy, QUESTION, n=11, stop=stop)
    assert (selection.stopped, selection.winner.candidate.text) == (None, "Final answer: 7")


@pytest.mark.parametrize(
    ("stop", "waves"),
    [
        (StopRule(), [8]),
        (StopRule(max_tokens=10**6), [8]),
        (StopRule(score=1), [2, 4, 2]),
        (StopRule(agreement=0.95), [4, 4]),
        (StopRule(score=1, max_parallel=1), [1] * 8),
        (StopRule(max_parallel=3), [3, 3, 2]),
        (StopRule(max_parallel=99), [8]),
    ],
)
async def test_candidates_are_begun_as_the_rule_needs_them(stop: StopRule, waves: list[int]) -> None:
    """The candidates of a wave end together without a decision, because all answers differ."""

    class Waves:
        def __init__(self) -> None:
            self.sizes: list[int] = []
            self.waiting = 0

        async def sample(self, conversation: Conversation, *, index: int, **options: Any) -> Candidate:
            self.waiting += 1
            for _ in range(20):  # long enough for all candidates of its wave to begin
                await asyncio.sleep(0)
            if self.waiting:
                self.sizes.append(self.waiting)
                self.waiting = 0
            return candidate(index, f"{index}")

    policy = Waves()
    critic = ScriptedCritic({f"{index}": (0.5,) for index in range(8)})
    selection = await best_of_n(policy, critic, QUESTION, n=8, stop=stop)
    assert (policy.sizes, selection.stopped, len(selection.candidates)) == (waves, None, 8)


async def test_candidates_that_were_never_begun_cost_nothing() -> None:
    policy = Playback([candidate(0, "one"), candidate(1, "two")])
    selection = await select(policy, n=64, stop=StopRule(score=0.9))
    assert (selection.stopped, policy.begun[:2]) == ("score", [0, 1])
    assert sorted(policy.abandoned) == policy.begun[2:]  # tasks are cancelled in no fixed order
    assert len(policy.begun) <= 4


async def test_a_failed_candidate_makes_room_too() -> None:
    script: list[Candidate | Failed] = [
        Failed(index=0, error=PolicyError("HTTP 500")),
        candidate(1, "one"),
        candidate(2, "two"),
    ]
    selection = await select(Playback(script), n=3, stop=StopRule(max_parallel=1))
    assert (selection.selected, texts(selection)) == (2, ["one", "two"])
