"""The figures of a pool equal those of ttscaling.selection's choices, for each draw."""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttscaling.answers.final_answer import final_answer
from ttscaling.evaluation.pools import AGGREGATIONS, METHODS, accuracies, draws, pool_of
from ttscaling.selection.aggregation import aggregate
from ttscaling.selection.ranking import best_candidate
from ttscaling.types import Candidate, ScoredCandidate

ANSWERS = (
    *("Final answer: 7", "Final answer: 8", "Final answer: 9", "no answer\nat all"),
    *("Final answer: 7 cm", "Final answer: 7 m"),  # 7 is the same vote as one of them, but not as both.
)
CANDIDATES = st.lists(
    st.tuples(
        st.sampled_from(ANSWERS),
        st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), min_size=1, max_size=3),
    ),
    min_size=2,
    max_size=8,
)


def entry(index: int, text: str, score: float | None) -> ScoredCandidate:
    candidate = Candidate(
        index=index, text=text, finish_reason="stop", prompt_tokens=1, cached_tokens=0, completion_tokens=1
    )
    return ScoredCandidate(candidate=candidate, step_scores=None, score=score)


def answers_of(texts: Sequence[str]) -> list[str | None]:
    return [final_answer(text) for text in texts]


def is_right(answer: str | None) -> bool:
    return answer == "7"


@settings(max_examples=200)
@given(CANDIDATES, st.integers(0, 1000), st.data())
def test_every_method_takes_what_the_server_would(
    candidates: list[tuple[str, list[float]]], seed: int, data: st.DataObject
) -> None:
    texts, steps = zip(*candidates, strict=True)
    n = data.draw(st.integers(1, len(texts)))
    order = draws(len(texts), num_draws=1, greedy_first=seed % 2 == 0, seed=[seed])[:, :n]
    figures = dict(zip(METHODS, accuracies(pool_of(answers_of(texts), steps, is_right), order), strict=True))
    draw = [(texts[index], steps[index]) for index in order[0]]
    right = [is_right(final_answer(text)) for text, _ in draw]
    assert figures["random"] == pytest.approx(sum(right) / n)
    assert figures["oracle"] == any(right)
    for how in AGGREGATIONS:
        entries = [entry(index, text, aggregate(s, how)) for index, (text, s) in enumerate(draw)]
        for method, by_votes in (("best_of_n", False), ("weighted_vote", True)):
            chosen = best_candidate(entries, by_votes=by_votes)
            assert figures[f"{method}/{how}"] == right[chosen.candidate.index]
    voters = [entry(index, text, None) for index, (text, _) in enumerate(draw)]
    assert figures["self_consistency"] == right[best_candidate(voters, by_votes=True).candidate.index]


def test_draws_are_orders_and_the_greedy_candidate_leads() -> None:
    order = draws(6, num_draws=500, greedy_first=True, seed=[3, 1])
    assert (order[:, 0] == 0).all()
    assert (np.sort(order, axis=1) == np.arange(6)).all()
    second = np.bincount(order[:, 1], minlength=6)
    assert second[0] == 0 and (second[1:] > 60).all(), "every other candidate is second about equally often"
    assert (draws(6, num_draws=500, greedy_first=False, seed=[3, 1])[:, 0] != 0).any()


def test_means_over_draws_are_unbiased() -> None:
    """The oracle's figure is pass@k in closed form, and that of Best-of-N is the mean over all subsets."""
    texts = ["Final answer: 7"] * 3 + ["Final answer: 8"] * 5
    scores = [0.9, 0.2, 0.4, 0.8, 0.7, 0.3, 0.5, 0.1]
    pool = pool_of(answers_of(texts), [[score] for score in scores], is_right)
    figures = dict(
        zip(
            METHODS,
            accuracies(pool, draws(8, num_draws=20_000, greedy_first=False, seed=[1])[:, :3]),
            strict=True,
        )
    )
    assert figures["oracle"] == pytest.approx(1 - comb(5, 3) / comb(8, 3), abs=0.01)
    subsets = [max(subset, key=scores.__getitem__) < 3 for subset in combinations(range(8), 3)]
    assert figures["best_of_n/mean"] == pytest.approx(sum(subsets) / len(subsets), abs=0.01)
    assert figures["random"] == pytest.approx(3 / 8, abs=0.01)


def test_no_answer_stated_at_all() -> None:
    """A vote chooses the first candidate, a weighted vote the one with the best score, and none is right."""
    pool = pool_of([None, None], [[0.1], [0.9]], is_right)
    assert accuracies(pool, np.array([[0, 1]])).tolist() == [0.0] * len(METHODS)


def test_groups_are_those_of_the_draw_and_not_of_the_pool() -> None:
    """7 and 7 cm are two votes for 7 against one for 8, unless the draw also holds 7 m."""
    pool = pool_of(["8", "7", "7 cm", "7 m"], [[0.5]] * 4, is_right)
    votes = METHODS.index("self_consistency")
    assert accuracies(pool, np.array([[0, 1, 2]]))[votes] == 1
    assert accuracies(pool, np.array([[0, 1, 2, 3]]))[votes] == 0
