"""Compute the curves of accuracy over N, with intervals and paired differences, from candidates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from ttscaling.asking.graders import Grader
from ttscaling.evaluation.candidates import CandidatePlan
from ttscaling.evaluation.pools import METHODS, accuracies, draws, pool_of
from ttscaling.evaluation.question_sets import EvaluationQuestion
from ttscaling.recorded import QuestionCandidates
from ttscaling.reports.intervals import bootstrap

DIFFERENCES = (
    ("best_of_n/mean", "self_consistency"),
    ("weighted_vote/min", "self_consistency"),
    ("weighted_vote/min", "best_of_n/mean"),
    ("beam_search", "best_of_n/mean"),
)
Values = dict[tuple[str, int], float]
"""The figures of one question, by the name of the method and n."""


def sizes_up_to(most: int) -> list[int]:
    """Return the powers of two below `most`, and `most`: 1, 2, 4, 8, 10 for 10."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def summary(
    questions: Sequence[EvaluationQuestion],
    candidates: Sequence[QuestionCandidates],
    plan: CandidatePlan,
    grade: Grader,
    *,
    num_draws: int,
) -> dict[str, Any]:
    """Return the report that `--json` prints; curves, differences and tokens have an entry for each n."""
    pairs = list(enumerate(zip(questions, candidates, strict=True)))
    per_question = [
        figures_of(recorded, question.answer, plan, grade, num_draws=num_draws, number=number)
        for number, (question, recorded) in track(pairs, "choosing", console=Console(stderr=True))
    ]
    keys = list(per_question[0])
    values_NC = np.array([[values[key] for key in keys] for values in per_question])
    estimates = dict(zip(keys, bootstrap(values_NC, seed=plan.seed), strict=True))

    def over_n(name: str, figure: str) -> list[dict[str, float]]:
        return [
            {"n": n, figure: estimate.mean, "low": estimate.low, "high": estimate.high}
            for (key, n), estimate in sorted(estimates.items())
            if key == name
        ]

    names = list(dict.fromkeys(name for name, _ in keys))
    differences = [name for name in names if " - " in name]
    tokens = [name for name in names if name.endswith("_tokens")]
    return {
        "curves": {name: over_n(name, "accuracy") for name in names if name not in (*differences, *tokens)},
        "differences": {name: over_n(name, "difference") for name in differences},
        "tokens": {name.removesuffix("_tokens"): over_n(name, "tokens") for name in tokens},
        "n_questions": len(questions),
        "max_n": plan.num_candidates,
        "include_greedy": plan.include_greedy,
        "draws": num_draws,
        "seed": plan.seed,
        "critic": candidates[0].critic,
    }


def figures_of(
    candidates: QuestionCandidates,
    answer: str,
    plan: CandidatePlan,
    grade: Grader,
    *,
    num_draws: int,
    number: int,
) -> Values:
    """Return the figures of one question for each N.

    For each method this is the share of draws in which it chooses a right candidate. The figures also include
    the tokens of N candidates and of the beam searches, and the differences between methods. `number` is the
    index of the question, which decides its draws.
    """

    def is_right(stated: str | None) -> bool:
        return grade(stated, answer)

    pool = pool_of(candidates.answers, candidates.step_scores, is_right)
    order_SM = draws(
        plan.num_candidates,
        num_draws=num_draws,
        greedy_first=plan.include_greedy,
        seed=(plan.seed, number),
    )
    values: Values = {}
    first = int(plan.include_greedy)  # Every draw holds the greedy candidate; the others begin at this index.
    for n in sizes_up_to(plan.num_candidates):
        for name, share in zip(METHODS, accuracies(pool, order_SM[:, :n]), strict=True):
            values[name, n] = float(share)
        sampled = (n - first) * float(np.mean(candidates.tokens[first:]))
        values["candidates_tokens", n] = sum(candidates.tokens[:first]) + sampled
    values["one_sample", 1] = float(pool.right_M[first:].mean())
    for n, stated in candidates.beam_answers.items():
        values["beam_search", n] = float(is_right(stated))
        values["beam_search_tokens", n] = float(candidates.beam_tokens[n])
    for better, worse in DIFFERENCES:
        for n in sizes_up_to(plan.num_candidates):
            if (better, n) in values:
                values[f"{better} - {worse}", n] = values[better, n] - values[worse, n]
    return values
