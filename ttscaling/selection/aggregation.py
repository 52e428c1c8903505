"""Many step scores to one answer's score.

VisualPRM (arXiv 2503.10291) Table 4 compares mean, min and max and chooses the mean; last and product are
what search-and-learn and its peers offer besides.
"""

import math
from collections.abc import Sequence
from typing import assert_never

from ttscaling.types import Aggregation


def aggregate(scores: Sequence[float], how: Aggregation) -> float:
    """One number in [0, 1] from step scores in [0, 1]; raises ValueError when there is no score."""
    if not scores:
        raise ValueError("no step scores to aggregate")
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
