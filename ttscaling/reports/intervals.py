"""Compute figures over questions with their 95 % intervals, by percentile bootstrap.

A resample draws questions with all their figures, so figures of the same questions stay paired. That is why
the interval of a difference is usually narrower than the intervals of the two figures suggest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CHUNK = 1000  # This many resamples are drawn together, which bounds the memory.
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A figure over questions and the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap(values_NC: NDArray, *, seed: int, statistic: Statistic = np.asarray) -> list[Estimate]:
    """Return the figures of N questions with their intervals.

    `values_NC` holds C values for each question; the figures are the means of the columns. With `statistic`
    they are K other figures, which it computes from column means: (R, C) to (R, K), a row for each resample.
    A ratio of two sums, for instance, is the ratio of two column means. Raises ValueError if there are no
    questions.
    """
    num_rows = len(values_NC)
    if num_rows == 0:
        raise ValueError("there are no questions: give values of at least one")
    shares = np.full(num_rows, 1 / num_rows)
    rng = np.random.default_rng(seed)
    means_RC = np.concatenate(
        [
            rng.multinomial(num_rows, shares, size=CHUNK) / num_rows @ values_NC
            for _ in range(RESAMPLES // CHUNK)
        ]
    )
    low_K, high_K = np.quantile(statistic(means_RC), [0.025, 0.975], axis=0)
    (figures_K,) = statistic(np.asarray(values_NC).mean(axis=0, keepdims=True))
    columns = zip(figures_K.tolist(), low_K.tolist(), high_K.tolist(), strict=True)
    return [Estimate(*column) for column in columns]


def surely_positive(difference: Estimate, differences_N: NDArray) -> bool:
    """Return whether a paired difference of right answers is surely above 0.

    `differences_N` holds the difference of each question. The 95 % interval must lie above 0, and the sign
    test of the questions that were gained and lost must be below 5 %. The interval alone isn't enough: after
    a single question, which was gained, it is [1, 1].
    """
    gained, lost = int((differences_N > 0).sum()), int((differences_N < 0).sum())
    return difference.low > 0 and sign_test(gained, lost) < 0.05


def sign_test(gained: int, lost: int) -> float:
    """Return the two-sided p value of the exact sign test, which for paired right answers is McNemar's."""
    total = gained + lost
    tail = sum(math.comb(total, count) for count in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**total)
