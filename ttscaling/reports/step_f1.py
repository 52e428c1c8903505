"""Compute VisualProcessBench's macro F1 of step scores.

Source: arXiv 2503.10291, section 4. A step is called right if its score is above a threshold. Macro F1 is the
mean of the F1 of the right steps and the F1 of the wrong steps. Neutral steps don't count. All wrong steps
are to be found, not only the first of a solution. For several sources the paper reports the "micro average":
the macro F1 of the steps of all sources together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.85
"""The default threshold. The paper states none; with this value third parties measure 62.2 points for the
released VisualPRM, where the paper reports 62.0."""


@dataclass(frozen=True, kw_only=True)
class F1:
    """F1 of the right steps, F1 of the wrong steps and their mean (macro), each in [0, 1]."""

    macro: float
    right: float
    wrong: float


def macro_f1(scores: Sequence[float], labels: Sequence[int], *, threshold: float = THRESHOLD) -> F1:
    """Return the macro F1 of steps with scores in [0, 1] and labels 1 (right), -1 (wrong) or 0 (neutral).

    A step is called right if its score is above the threshold; neutral steps are left out. The F1 of a kind
    of step is 0 if no step is of this kind and none is called so. Raises ValueError for other labels, for
    scores that are NaN, for different lengths, and if no step is right or wrong.
    """
    wrong, right, macro = f1_of(step_counts(scores, labels, threshold=threshold).astype(float)).tolist()
    return F1(macro=macro, right=right, wrong=wrong)


def best_threshold(scores: Sequence[float], labels: Sequence[int]) -> float:
    """Return the threshold with the highest macro F1 on these steps, the lowest of several such thresholds.

    It lies between two scores, or below or above all scores. Choose a threshold on other steps than those
    that you report. Raises ValueError as `macro_f1` does.
    """
    step_counts(scores, labels, threshold=0.0)  # This call checks the arguments.
    marked = np.array(labels) != 0
    score_T, right_T = np.array(scores, dtype=float)[marked], np.array(labels)[marked] == 1
    distinct_D, group_T = np.unique(score_T, return_inverse=True)
    right_D = np.bincount(group_T, weights=right_T, minlength=len(distinct_D))
    wrong_D = np.bincount(group_T, weights=~right_T, minlength=len(distinct_D))
    # In row d of `counts` all steps with less than the distinct score d are called wrong, in row D all steps.
    missed = np.concatenate([[0], np.cumsum(right_D)])
    found = np.concatenate([[0], np.cumsum(wrong_D)])
    counts = np.stack([right_D.sum() - missed, missed, found, wrong_D.sum() - found], axis=1)
    at = int(f1_of(counts)[:, 2].argmax())
    edges = np.concatenate([[distinct_D[0] - 1], distinct_D, [distinct_D[-1] + 1]])
    below, above = edges[at : at + 2].tolist()
    middle = (below + above) / 2
    return middle if middle < above else below  # Two neighbouring floats have no number between them.


def step_counts(scores: Sequence[float], labels: Sequence[int], *, threshold: float) -> NDArray[np.int64]:
    """Return the four counts that `f1_of` needs; the counts of several solutions may be added.

    They count right steps called right, right steps called wrong, wrong steps called wrong and wrong steps
    called right. Raises ValueError as `macro_f1` does.
    """
    if len(scores) != len(labels):
        raise ValueError(
            f"{len(scores)} scores for {len(labels)} labels: give each step one score and one label"
        )
    score_T, label_T = np.array(scores, dtype=float), np.array(labels)
    if not np.isin(label_T, (1, 0, -1)).all():
        raise ValueError(
            "a label is neither 1 (right), -1 (wrong) nor 0 (neutral): change it to one of these"
        )
    if np.isnan(score_T).any():
        raise ValueError("a score is NaN: leave the step out or score it again")
    if not label_T.any():
        raise ValueError("no step is marked right or wrong: give at least one such step")
    called = score_T > threshold
    right, wrong = label_T == 1, label_T == -1
    cells = (right & called, right & ~called, wrong & ~called, wrong & called)
    return np.array([cell.sum() for cell in cells])


def f1_of(counts_R4: NDArray) -> NDArray[np.float64]:
    """Return F1 of the wrong steps, F1 of the right steps and their mean, (..., 3), for counts (..., 4).

    The counts are those of `step_counts`; their means over questions give the same result.
    """
    right, missed, found, passed = np.moveaxis(np.asarray(counts_R4, dtype=float), -1, 0)
    mistakes = missed + passed
    f1_right, f1_wrong = (
        np.divide(2 * hits, 2 * hits + mistakes, out=np.zeros_like(hits), where=hits + mistakes > 0)
        for hits in (right, found)
    )
    return np.stack([f1_wrong, f1_right, (f1_right + f1_wrong) / 2], axis=-1)
