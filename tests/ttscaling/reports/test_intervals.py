from itertools import product

import numpy as np
import pytest

from ttscaling.reports.intervals import bootstrap, sign_test, surely_positive


def test_intervals_hold_the_mean_and_shrink_with_n() -> None:
    rng = np.random.default_rng(0)
    small, large = (bootstrap(rng.random((n, 1)) < 0.6, seed=1)[0] for n in (50, 5000))
    assert small.low < small.mean < small.high
    assert large.high - large.low < (small.high - small.low) / 5
    # The 95 % interval of a binomial mean extends 1.96 standard errors to both sides.
    half = 1.96 * np.sqrt(large.mean * (1 - large.mean) / 5000)
    assert (large.high - large.low) / 2 == pytest.approx(half, rel=0.05)


def test_intervals_are_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(0).random((20, 2))
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


def test_columns_stay_paired() -> None:
    """Two columns differ by 0.5 in every row, so the interval of the difference has no width."""
    left = np.random.default_rng(0).random(40)
    (own, other, difference) = bootstrap(np.stack([left, left + 0.5, np.full(40, 0.5)], axis=1), seed=0)
    assert own.low < own.mean < own.high
    assert other.mean - own.mean == pytest.approx(0.5)
    assert (difference.low, difference.high) == pytest.approx((0.5, 0.5))


def test_a_ratio_of_sums_has_an_interval_too() -> None:
    """The share is the ratio of two sums, not the mean of the ratios of single questions."""
    tokens = np.array([[10.0, 1.0], [90.0, 81.0]] * 20)
    (share,) = bootstrap(tokens, seed=0, statistic=lambda means: means[:, 1:] / means[:, :1])
    assert share.mean == pytest.approx(0.82)
    assert 0.1 < share.low < 0.82 < share.high < 0.9


def test_no_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="no questions"):
        bootstrap(np.zeros((0, 2)), seed=0)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 0), (6, 0), (9, 2), (2, 9), (5, 5), (8, 6)])
def test_the_sign_test_counts_the_outcomes_that_are_as_extreme(gained: int, lost: int) -> None:
    """All outcomes are equally likely if a question is as likely gained as lost."""
    outcomes = [sum(signs) for signs in product((1, -1), repeat=gained + lost)]
    extreme = sum(abs(outcome) >= abs(gained - lost) for outcome in outcomes)
    assert sign_test(gained, lost) == pytest.approx(extreme / len(outcomes))


@pytest.mark.parametrize(
    ("gained", "lost", "same", "surely"),
    [(1, 0, 0, False), (3, 0, 5, False), (9, 0, 20, True), (40, 10, 150, True), (12, 9, 100, False)],
)
def test_a_gain_is_sure_only_with_enough_questions(gained: int, lost: int, same: int, surely: bool) -> None:
    differences = np.array([1.0] * gained + [-1.0] * lost + [0.0] * same)
    (estimate,) = bootstrap(differences[:, None], seed=0)
    assert surely_positive(estimate, differences) == surely
    (loss,) = bootstrap(-differences[:, None], seed=0)
    assert not surely_positive(loss, -differences)
