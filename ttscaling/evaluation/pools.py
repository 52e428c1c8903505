"""What every way to choose among N candidates comes to, all of them from one pool of candidates.

A question is asked once, for as many candidates as the largest N. For a smaller N the figures are means over
many random draws of N from that pool, without replacement: each draw is what a request for N would have
brought, so the means are unbiased, and all ways and all N are compared on the same candidates. (The idea is
search-and-learn's `score.py`, which takes the first N instead.) Choosing follows
`ttscaling.selection.choosing`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ttscaling.answers.final_answer import final_answer, group_equal_answers
from ttscaling.selection.aggregation import aggregate
from ttscaling.types import Aggregation

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
METHODS = (
    "random",
    "self_consistency",
    *(f"best_of_n/{how}" for how in AGGREGATIONS),
    *(f"weighted_vote/{how}" for how in AGGREGATIONS),
    "oracle",
)
NONE = -1  # the group of candidates that state no answer


@dataclass(frozen=True)
class Pool:
    """A question's M candidates: right or not, which state the same answer, scores by each aggregation."""

    right_M: NDArray[np.bool_]
    group_M: NDArray[np.int64]
    scores_AM: NDArray[np.float64]


def pool_of(
    texts: Sequence[str], step_scores: Sequence[Sequence[float]], is_right: Callable[[str | None], bool]
) -> Pool:
    """A pool from candidates and the critic's scores of their steps; `is_right` judges a final answer."""
    stated = [final_answer(text) for text in texts]
    group_M = np.full(len(texts), NONE)
    for number, members in enumerate(group_equal_answers(stated)):
        group_M[members] = number
    verdicts = {answer: is_right(answer) for answer in set(stated)}
    return Pool(
        right_M=np.array([verdicts[answer] for answer in stated]),
        group_M=group_M,
        scores_AM=np.array([[aggregate(steps, how) for steps in step_scores] for how in AGGREGATIONS]),
    )


def draws(size: int, *, num_draws: int, greedy_first: bool, seed: Sequence[int]) -> NDArray[np.int64]:
    """Random orders of a pool (draws, size): the first N of each are one draw of N.

    With `greedy_first` the pool's first candidate is the greedy one and leads every order, as it is candidate
    0 of every request; the others are alike.
    """
    order_SM = np.argsort(np.random.default_rng(seed).random((num_draws, size - greedy_first)), axis=1)
    if not greedy_first:
        return order_SM
    return np.concatenate([np.zeros((num_draws, 1), dtype=np.int64), order_SM + 1], axis=1)


def accuracies(pool: Pool, order_SN: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each of METHODS the share of draws in which it takes a right candidate."""
    right_SN, group_SN = pool.right_M[order_SN], pool.group_M[order_SN]
    scores_ASN = pool.scores_AM[:, order_SN]
    member_SNG = group_SN[:, :, None] == np.arange(pool.group_M.max() + 1)
    equal_SN = np.ones_like(order_SN, dtype=float)
    chosen = [
        first_of_best_group(equal_SN, -np.arange(order_SN.shape[1]) * equal_SN, member_SNG),
        *(scores_SN.argmax(axis=1) for scores_SN in scores_ASN),
        *(first_of_best_group(scores_SN, scores_SN, member_SNG) for scores_SN in scores_ASN),
    ]
    taken = [np.take_along_axis(right_SN, at_S[:, None], axis=1).mean() for at_S in chosen]
    return np.array([right_SN.mean(), *taken, right_SN.any(axis=1).mean()])


def first_of_best_group(
    weights_SN: NDArray[np.float64], rank_SN: NDArray[np.float64], member_SNG: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """In each draw the candidate of highest rank in the answer whose weights add up to most.

    A tie goes to the answer given first, and to the earlier candidate. Where nobody states an answer, the
    candidate of highest rank is taken.
    """
    num_candidates = rank_SN.shape[1]
    if member_SNG.shape[2] == 0:
        return rank_SN.argmax(axis=1)
    given_SG = member_SNG.any(axis=1)
    total_SG = np.where(given_SG, (weights_SN[:, :, None] * member_SNG).sum(axis=1), -1.0)
    first_SG = np.where(given_SG, member_SNG.argmax(axis=1), num_candidates)
    leading_SG = total_SG == total_SG.max(axis=1, keepdims=True)
    group_S = np.where(leading_SG, first_SG, num_candidates).argmin(axis=1)
    inside_SN = np.take_along_axis(member_SNG, group_S[:, None, None], axis=2)[:, :, 0]
    open_SN = inside_SN | ~np.any(given_SG, axis=1, keepdims=True)
    return np.where(open_SN, rank_SN, -np.inf).argmax(axis=1)
