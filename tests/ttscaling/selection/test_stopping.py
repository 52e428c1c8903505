import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttscaling.selection.aggregation import aggregate
from ttscaling.selection.stopping import StopRule, answers_agree, best_possible, stays_ahead, votes_missing
from ttscaling.types import Aggregation

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=8)
HOW = st.sampled_from(["mean", "min", "last", "product", "max"])


@given(st.integers(0, 300), st.integers(0, 300))
def test_integer_votes_give_a_binomial_sum(leader: int, second: int) -> None:
    """For integers the tail of the Beta distribution is a binomial sum, which can be computed exactly."""
    throws = leader + second + 1
    exact = sum(math.comb(throws, heads) for heads in range(leader + 1)) / 2**throws
    assert stays_ahead(leader, second) == pytest.approx(exact, abs=1e-9)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 10))
def test_more_votes_raise_the_probability(leader: float, second: float, more: float) -> None:
    assert stays_ahead(leader + more, second) >= stays_ahead(leader, second) - 1e-9
    assert stays_ahead(leader, second + more) <= stays_ahead(leader, second) + 1e-9
    assert stays_ahead(leader, second) + stays_ahead(second, leader) == pytest.approx(1)


def test_agreement_is_between_the_first_two() -> None:
    assert answers_agree([4], 0.95)
    assert not answers_agree([3], 0.95)
    assert answers_agree([1, 6, 1], 0.95) == (stays_ahead(6, 1) >= 0.95)
    assert not answers_agree([], 0.51)
    assert not answers_agree([2, 2], 0.51)


@given(st.floats(0.501, 0.9999999))
def test_the_votes_that_are_missing_are_the_fewest_that_agree(agreement: float) -> None:
    votes = votes_missing(0, 0, agreement)
    assert answers_agree([votes], agreement)
    assert votes == 1 or not answers_agree([votes - 1], agreement)


@given(SCORES, SCORES, HOW)
def test_no_continuation_passes_the_bound(
    beginning: list[float], ending: list[float], how: Aggregation
) -> None:
    total = aggregate(beginning + ending, how)
    assert total <= best_possible(beginning, how) + 1e-9
    assert total <= best_possible(beginning, how, max_steps=16) + 1e-9
    assert total <= best_possible(beginning, how, max_steps=len(beginning) + len(ending)) + 1e-9


@given(SCORES, st.integers(1, 8), HOW)
def test_the_bound_is_reached_by_perfect_steps(begun: list[float], more: int, how: Aggregation) -> None:
    perfect = aggregate(begun + [1.0] * more, how)
    assert best_possible(begun, how, max_steps=len(begun) + more) == pytest.approx(perfect, abs=1e-9)


@given(SCORES, HOW)
def test_at_the_last_step_the_bound_is_the_score(scores: list[float], how: Aggregation) -> None:
    assert best_possible(scores, how, max_steps=len(scores)) == pytest.approx(aggregate(scores, how))


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": 1.1},
        {"score": -0.1},
        {"score": math.nan},
        {"agreement": 0.5},
        {"agreement": 1.0},
        {"max_tokens": 0},
        {"max_seconds": -1.0},
        {"max_steps": 0},
        {"max_parallel": 0},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StopRule(**wrong)  # type: ignore[arg-type]
