"""How sure a figure is: 95 % percentile bootstrap over questions.

Whole rows are drawn, so figures of the same questions stay paired: a difference has an interval of its own,
narrower than those of its two sides.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CHUNK = 1000  # resamples drawn together: bounds the memory, not the result
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A figure over questions with its 95 % interval."""

    mean: float
    low: float
    high: float


def bootstrap(values_NC: NDArray, *, seed: int, statistic: Statistic = np.asarray) -> list[Estimate]:
    """Figures of N questions with their intervals: the mean of each of the C columns.

    `statistic` makes other figures of the means: it takes (R, C) column means, R times, to (R, K) figures,
    and K estimates come back. A ratio of two sums, for instance, is the ratio of two means. Raises ValueError
    without questions.
    """
    num_rows = len(values_NC)
    if num_rows == 0:
        raise ValueError("no questions to draw from")
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
