"""VisualProcessBench's figure: how well step scores tell right steps from wrong ones.

arXiv 2503.10291, section 4: a step is called right if its score passes a threshold; F1 of the right steps and
F1 of the wrong ones are averaged (macro F1); neutral steps don't count; all wrong steps are to be found, not
only the first. Over several sources the paper takes the "micro average": the steps of all of them pooled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.85
"""The paper states no value. Third parties evaluate the released VisualPRM with this one and come to 62.2
points, where the paper has 62.0."""


@dataclass(frozen=True, kw_only=True)
class F1:
    """In [0, 1]: F1 of the steps that are right, of those that are wrong, and their mean."""

    macro: float
    right: float
    wrong: float


def macro_f1(scores: Sequence[float], labels: Sequence[int], *, threshold: float = THRESHOLD) -> F1:
    """The figure of some steps: scores in [0, 1], labels 1 (right), -1 (wrong) or 0 (neutral, left out).

    A step is called right if its score is above the threshold. F1 is 0 where there is nothing to find and
    nothing was found. Raises ValueError for other labels, scores that are no numbers, different lengths, and
    where no step is right or wrong.
    """
    wrong, right, macro = f1_of(step_counts(scores, labels, threshold=threshold).astype(float)).tolist()
    return F1(macro=macro, right=right, wrong=wrong)


def best_threshold(scores: Sequence[float], labels: Sequence[int]) -> float:
    """The threshold with the highest macro F1 on these steps; of several the lowest.

    It lies between two scores, or below or above all of them. Choose it on other steps than are reported on.
    Raises as `macro_f1`.
    """
    step_counts(scores, labels, threshold=0.0)  # the same checks
    marked = np.array(labels) != 0
    score_T, right_T = np.array(scores, dtype=float)[marked], np.array(labels)[marked] == 1
    distinct_D, group_T = np.unique(score_T, return_inverse=True)
    right_D = np.bincount(group_T, weights=right_T, minlength=len(distinct_D))
    wrong_D = np.bincount(group_T, weights=~right_T, minlength=len(distinct_D))
    # Column d: everything below distinct score d is called wrong, d = D is all of it.
    missed = np.concatenate([[0], np.cumsum(right_D)])
    found = np.concatenate([[0], np.cumsum(wrong_D)])
    counts = np.stack([right_D.sum() - missed, missed, found, wrong_D.sum() - found], axis=1)
    at = int(f1_of(counts)[:, 2].argmax())
    edges = np.concatenate([[distinct_D[0] - 1], distinct_D, [distinct_D[-1] + 1]])
    below, above = edges[at : at + 2].tolist()
    middle = (below + above) / 2
    return middle if middle < above else below  # neighbouring floats have no middle


def step_counts(scores: Sequence[float], labels: Sequence[int], *, threshold: float) -> NDArray[np.int64]:
    """What `f1_of` needs of some steps, as counts that may be added up over solutions.

    Right steps called right, right ones called wrong, wrong ones called wrong, wrong ones called right.
    Raises as `macro_f1`.
    """
    if len(scores) != len(labels):
        raise ValueError(f"{len(scores)} scores for {len(labels)} labels: give each step one of both")
    score_T, label_T = np.array(scores, dtype=float), np.array(labels)
    if not np.isin(label_T, (1, 0, -1)).all():
        raise ValueError("a label is neither 1 (right), -1 (wrong) nor 0 (neutral)")
    if np.isnan(score_T).any():
        raise ValueError("a score is no number")
    if not label_T.any():
        raise ValueError("no step is marked right or wrong: there is nothing to measure")
    called = score_T > threshold
    right, wrong = label_T == 1, label_T == -1
    cells = (right & called, right & ~called, wrong & ~called, wrong & called)
    return np.array([cell.sum() for cell in cells])


def f1_of(counts_R4: NDArray) -> NDArray[np.float64]:
    """Counts (..., 4), or their means, to (..., 3): F1 of the wrong steps, of the right ones, their mean."""
    right, missed, found, passed = np.moveaxis(np.asarray(counts_R4, dtype=float), -1, 0)
    mistakes = missed + passed
    f1_right, f1_wrong = (
        np.divide(2 * hits, 2 * hits + mistakes, out=np.zeros_like(hits), where=hits + mistakes > 0)
        for hits in (right, found)
    )
    return np.stack([f1_wrong, f1_right, (f1_right + f1_wrong) / 2], axis=-1)
