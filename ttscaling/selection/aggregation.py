"""Make one score of an answer's step scores.

Table 4 of VisualPRM (arXiv 2503.10291) compares mean, min and max, and the paper chooses the mean.
search-and-learn and similar projects also offer last and product.
"""

import math
from collections.abc import Sequence
from typing import assert_never

from ttscaling.types import Aggregation


def aggregate(scores: Sequence[float], how: Aggregation) -> float:
    """Return one number in [0, 1] from step scores in [0, 1]. Raises ValueError if there is no score."""
    if not scores:
        raise ValueError("there are no step scores to aggregate: give at least one")
    match how:
        case "mean":
            return math.fsum(scores) / len(scores)
        case "min":
            return min(scores)
        case "last":
            return scores[-1]
        case "product":
            return math.prod(scores)
        case "max":
            return max(scores)
        case _:
            assert_never(how)
