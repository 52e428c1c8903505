"""Compute the accuracy of every method for every N from one pool of candidates.

A question has one pool, with as many candidates as the largest N. For a smaller N the figures are means over
many random draws of N candidates from the pool, without replacement. A request for N would have brought such
a draw, so the means are unbiased, and all methods and all N are compared on the same candidates. (The idea
comes from search-and-learn's `score.py`, which takes the first N instead.) The methods choose as
`ttscaling.selection.choosing` does.

Shapes: M candidates in a pool, A aggregations, S draws, N candidates in a draw, G groups of equal answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ttscaling.answers.final_answer import group_equal_answers
from ttscaling.answers.normal_form import read_answer
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
NONE = -1  # The group of the candidates that state no final answer.


@dataclass(frozen=True)
class Pool:
    """The M candidates of a question: their final answers, which of them are right, and the scores.

    `group_M` numbers the groups of equal answers. With `regroup` it holds for the whole pool only: 5 is the
    same vote as 5 cm, unless a draw also holds 5 m.
    """

    answers: tuple[str | None, ...]
    right_M: NDArray[np.bool_]
    group_M: NDArray[np.int64]
    regroup: bool
    scores_AM: NDArray[np.float64]


def pool_of(
    answers: Sequence[str | None],
    step_scores: Sequence[Sequence[float]],
    is_right: Callable[[str | None], bool],
) -> Pool:
    """Return the pool of candidates with these final answers; `is_right` says whether one is right."""
    group_M = _groups(answers)
    right_of = {answer: is_right(answer) for answer in set(answers)}
    cores = {read_answer(answer).core for answer in set(answers) if answer is not None}
    return Pool(
        answers=tuple(answers),
        right_M=np.array([right_of[answer] for answer in answers]),
        group_M=group_M,
        regroup=len(cores) <= group_M.max(),
        scores_AM=np.array([[aggregate(steps, how) for steps in step_scores] for how in AGGREGATIONS]),
    )


def _groups(answers: Sequence[str | None]) -> NDArray[np.int64]:
    group_N = np.full(len(answers), NONE)
    for number, members in enumerate(group_equal_answers(answers)):
        group_N[members] = number
    return group_N


def draws(size: int, *, num_draws: int, greedy_first: bool, seed: Sequence[int]) -> NDArray[np.int64]:
    """Return random orders of a pool, (num_draws, size); the first N of an order are one draw of N.

    With `greedy_first` the pool's first candidate is the greedy one. It leads every order, because it is
    candidate 0 of every request. The other candidates follow in random order.
    """
    order_SM = np.argsort(np.random.default_rng(seed).random((num_draws, size - greedy_first)), axis=1)
    if not greedy_first:
        return order_SM
    return np.concatenate([np.zeros((num_draws, 1), dtype=np.int64), order_SM + 1], axis=1)


def accuracies(pool: Pool, order_SN: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, for each of METHODS, the share of draws in which it chooses a right candidate."""
    right_SN, scores_ASN = pool.right_M[order_SN], pool.scores_AM[:, order_SN]
    if pool.regroup:
        group_SN = np.stack([_groups([pool.answers[index] for index in order_N]) for order_N in order_SN])
    else:
        group_SN = pool.group_M[order_SN]
    member_SNG = group_SN[:, :, None] == np.arange(group_SN.max() + 1)
    equal_SN = np.ones_like(order_SN, dtype=float)
    choices = [
        first_of_best_group(equal_SN, -np.arange(order_SN.shape[1]) * equal_SN, member_SNG),
        *(scores_SN.argmax(axis=1) for scores_SN in scores_ASN),
        *(first_of_best_group(scores_SN, scores_SN, member_SNG) for scores_SN in scores_ASN),
    ]
    shares = [np.take_along_axis(right_SN, index_S[:, None], axis=1).mean() for index_S in choices]
    return np.array([right_SN.mean(), *shares, right_SN.any(axis=1).mean()])


def first_of_best_group(
    weights_SN: NDArray[np.float64], rank_SN: NDArray[np.float64], member_SNG: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return, for each draw, the candidate of highest rank in the group with the highest total weight.

    Of groups with equal totals the one whose first candidate is earlier wins; of candidates with equal ranks
    the earlier one. If no candidate states an answer, the candidate of highest rank is chosen.
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
