"""Compute the figures of the critic ablation, with their intervals.

Shapes: N questions or solutions, B figures of BASELINES, K candidates, A aggregations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ttscaling.answers.final_answer import final_answer, majority
from ttscaling.nano_tasks.problems import solve
from ttscaling.reports.intervals import bootstrap
from ttscaling.reports.step_f1 import f1_of, step_counts
from ttscaling.selection.aggregation import aggregate
from ttscaling.train.nano.stages.ranking import AnsweredQuestion
from ttscaling.types import Aggregation

from .readings import Reading

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
BASELINES = ("greedy", "pass@1", "majority@8", "pass@8")
DEFAULT: Aggregation = "mean"


def summary(
    questions: Sequence[AnsweredQuestion], readings: Mapping[str, Reading], *, seed: int
) -> dict[str, Any]:
    """Return the figures of all critics and of the baselines, each as {mean, low, high}.

    The 95 % intervals of Best-of-8 come from one paired bootstrap over questions.
    """
    baselines_NB, right_NK = _baselines(questions)
    chosen_NA = {
        name: np.stack([_chosen(reading, right_NK, how) for how in AGGREGATIONS], axis=1)
        for name, reading in readings.items()
    }
    majority_N1 = baselines_NB[:, [BASELINES.index("majority@8")]]
    value_N = chosen_NA["value"][:, AGGREGATIONS.index(DEFAULT)]
    blocks = [baselines_NB]
    for chosen in chosen_NA.values():
        against_value_N = value_N - chosen[:, AGGREGATIONS.index(DEFAULT)]
        blocks += [chosen, chosen - majority_N1, against_value_N[:, None]]
    figures = iter(map(asdict, bootstrap(np.concatenate(blocks, axis=1), seed=seed)))
    report: dict[str, Any] = {"questions": len(questions), "seed": seed, "candidates": right_NK.shape[1]}
    report["baselines"] = {name: next(figures) for name in BASELINES}
    report["critics"] = {
        name: asdict(reading.contender.scheme)
        | {
            "best_of_8": {how: next(figures) for how in AGGREGATIONS},
            "over_majority": {how: next(figures) for how in AGGREGATIONS},
            "value_over_this": next(figures),
            "process_bench": _process_bench(reading, seed=seed),
        }
        for name, reading in readings.items()
    }
    return report


def _baselines(questions: Sequence[AnsweredQuestion]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the figures of BASELINES for each question (N, B), and which candidates are right (N, K)."""
    rows, rights = [], []
    for answered in questions:
        answer = solve(answered.question).answer
        stated = [final_answer(text) for text in answered.texts]
        right = [one == answer for one in stated]
        rows.append((right[0], np.mean(right[1:]), right[majority(stated)], any(right)))
        rights.append(right)
    return np.array(rows, dtype=float), np.array(rights)


def _chosen(reading: Reading, right_NK: NDArray[np.bool_], how: Aggregation) -> NDArray[np.float64]:
    """Return 1 for each question whose best candidate is right, else 0; among equal scores the first wins."""
    best_N = [int(np.argmax([aggregate(scores, how) for scores in each])) for each in reading.candidates]
    return right_NK[np.arange(len(best_N)), best_N].astype(float)


def _process_bench(reading: Reading, *, seed: int) -> dict[str, Any]:
    counts_N4 = np.stack(
        [step_counts(scores, marks, threshold=reading.threshold) for scores, marks in reading.solutions]
    )
    wrong, right, macro = map(asdict, bootstrap(counts_N4, seed=seed, statistic=f1_of))
    return {
        "solutions": len(counts_N4),
        "steps": int(counts_N4.sum()),
        "threshold": reading.threshold,
        "macro": macro,
        "right": right,
        "wrong": wrong,
    }
