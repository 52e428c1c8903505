import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ttscaling.scripted import QUESTION, ScriptedCritic, playback_of
from ttscaling.answers.final_answer import same_answer
from ttscaling.methods.weighted_vote import weighted_vote
from ttscaling.types import OnCriticError
from ttscaling.votes import Vote

EIGHT, BOXED_EIGHT, SEVEN, NONE = "Final answer: 8", "\\boxed{8.0}", "Final answer: 7", "cut\n\noff"


@pytest.mark.parametrize(
    ("scores", "selected"),
    [
        ({EIGHT: 0.4, SEVEN: 0.7, BOXED_EIGHT: 0.5}, 2),  # .9 against .7; the boxed 8 has the higher score
        ({EIGHT: 0.1, SEVEN: 0.7, BOXED_EIGHT: 0.5}, 1),
        (
            {EIGHT: 0.25, SEVEN: 0.5, BOXED_EIGHT: 0.25},
            0,
        ),  # ties go to the earlier answer and the earlier candidate
    ],
)
async def test_an_answer_weighs_the_sum_of_its_scores(scores: dict[str, float], selected: int) -> None:
    critic = ScriptedCritic({text: (score,) for text, score in scores.items()})
    selection = await weighted_vote(
        playback_of([EIGHT, SEVEN, BOXED_EIGHT], finish=[2, 1, 0]), critic, QUESTION, n=3
    )
    assert selection.selected == selected


@given(st.lists(st.tuples(st.sampled_from("789"), st.floats(0, 1)), min_size=1, max_size=9))
def test_the_winner_is_the_best_of_the_heaviest_answer(votes: list[tuple[str, float]]) -> None:
    texts = [f"candidate {index}\n\nFinal answer: {answer}" for index, (answer, _) in enumerate(votes)]
    critic = ScriptedCritic({text: (score,) for text, (_, score) in zip(texts, votes, strict=True)})
    selection = asyncio.run(weighted_vote(playback_of(texts), critic, QUESTION, n=len(texts)))
    weight = {answer: math.fsum(score for other, score in votes if other == answer) for answer, _ in votes}
    answer, score = votes[selection.selected]
    assert weight[answer] == max(weight.values())
    assert score == max(other for same, other in votes if same_answer(same, answer))


async def test_candidates_without_an_answer_have_no_vote() -> None:
    critic = ScriptedCritic({NONE: (0.9,), SEVEN: (0.1,)})
    selection = await weighted_vote(playback_of([NONE, SEVEN]), critic, QUESTION, n=2)
    assert selection.selected == 1
    assert selection.degraded is None
    selection = await weighted_vote(playback_of([NONE, NONE]), critic, QUESTION, n=2)
    assert selection.selected == 0 and selection.votes == ()
    assert "no candidate states a final answer" in str(selection.degraded)


async def test_votes_and_answers_are_in_the_selection() -> None:
    critic = ScriptedCritic({EIGHT: (0.25,), SEVEN: (0.625,), BOXED_EIGHT: (0.5,), NONE: (0.875,)})
    policy = playback_of([NONE, SEVEN, EIGHT, BOXED_EIGHT])
    selection = await weighted_vote(policy, critic, QUESTION, n=4)
    assert [entry.answer for entry in selection.candidates] == [None, "7", "8", "8.0"]
    assert selection.votes == (
        Vote(answer="8", candidates=(2, 3), score=0.75),
        Vote(answer="7", candidates=(1,), score=0.625),
    )
    assert selection.selected == 3


async def test_a_fallback_without_answers_says_so() -> None:
    selection = await weighted_vote(
        playback_of([NONE, NONE]), ScriptedCritic({}), QUESTION, n=2, on_critic_error="self_consistency"
    )
    assert "no candidate states a final answer, so there was no vote; the first" in str(selection.degraded)


@pytest.mark.parametrize(("fallback", "selected"), [("first", 0), ("self_consistency", 1)])
async def test_without_scores_it_falls_back(fallback: OnCriticError, selected: int) -> None:
    policy = playback_of([SEVEN, EIGHT, BOXED_EIGHT])
    selection = await weighted_vote(policy, ScriptedCritic({}), QUESTION, n=3, on_critic_error=fallback)
    assert selection.selected == selected
    assert selection.degraded is not None
