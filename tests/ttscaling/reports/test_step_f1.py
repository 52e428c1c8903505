import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from ttscaling.reports.step_f1 import best_threshold, f1_of, macro_f1, step_counts

STEPS = st.lists(st.tuples(st.floats(0, 1), st.sampled_from([1, 0, -1])), min_size=1, max_size=40).filter(
    lambda steps: any(label for _, label in steps)
)


def test_one_example_by_hand() -> None:
    """The right steps have 2 hits and 2 mistakes, so F1 is 4 / 6.

    The wrong steps have 1 hit and the same 2 mistakes, so F1 is 2 / 4. The neutral step is left out.
    """
    result = macro_f1([0.9, 0.9, 0.2, 0.8, 0.1, 0.95], [1, 1, 1, -1, -1, 0], threshold=0.5)
    assert (result.right, result.wrong) == pytest.approx((2 / 3, 1 / 2))
    assert result.macro == pytest.approx(7 / 12)


@given(STEPS, st.floats(0, 1))
def test_the_same_as_scikit_learn(steps: list[tuple[float, int]], threshold: float) -> None:
    scores, labels = zip(*steps, strict=True)
    marked = [(score, label) for score, label in steps if label]
    expected = f1_score(
        [label for _, label in marked],
        [1 if score > threshold else -1 for score, _ in marked],
        labels=[1, -1],
        average="macro",
        zero_division=0,
    )
    assert macro_f1(scores, labels, threshold=threshold).macro == pytest.approx(expected)


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    assert macro_f1([0.85], [1], threshold=0.85).right == 0
    assert macro_f1([0.85], [-1], threshold=0.85).wrong == 1


@given(STEPS)
def test_no_threshold_beats_the_best(steps: list[tuple[float, int]]) -> None:
    scores, labels = zip(*steps, strict=True)
    best = macro_f1(scores, labels, threshold=best_threshold(scores, labels)).macro
    thresholds = [-1.0, *scores]
    assert best >= max(macro_f1(scores, labels, threshold=t).macro for t in thresholds) - 1e-12


def test_the_best_threshold_lies_between_the_classes() -> None:
    assert best_threshold([0.2, 0.4, 0.7, 0.9, 0.5], [-1, -1, 1, 1, 0]) == pytest.approx(0.55)


def test_counts_of_solutions_add_up_to_the_pooled_figure() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random(60).tolist(), rng.choice([1, 0, -1], 60).tolist()
    parts = [step_counts(scores[at : at + 20], labels[at : at + 20], threshold=0.4) for at in (0, 20, 40)]
    pooled = macro_f1(scores, labels, threshold=0.4)
    assert f1_of(np.sum(parts, axis=0)).tolist() == pytest.approx([pooled.wrong, pooled.right, pooled.macro])
    assert f1_of(np.mean(parts, axis=0)).tolist() == pytest.approx([pooled.wrong, pooled.right, pooled.macro])


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.5], [1, 1], "1 scores for 2 labels"),
        ([0.5], [2], "neither 1"),
        ([float("nan")], [1], "is NaN"),
        ([0.5, 0.5], [0, 0], "no step is marked"),
        ([], [], "no step is marked"),
    ],
)
def test_what_cannot_be_measured_is_refused(scores: list[float], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        macro_f1(scores, labels, threshold=0.5)
    with pytest.raises(ValueError, match=message):
        best_threshold(scores, labels)
