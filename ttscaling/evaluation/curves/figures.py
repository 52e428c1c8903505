"""From gathered candidates to curves: accuracy over N with intervals, differences of the same questions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from ttscaling.answers.final_answer import final_answer
from ttscaling.asking.graders import Grader
from ttscaling.evaluation.candidates import CandidatePlan
from ttscaling.evaluation.pools import METHODS, accuracies, draws, pool_of
from ttscaling.evaluation.question_sets import EvaluationQuestion
from ttscaling.recorded import QuestionCandidates
from ttscaling.reports.intervals import bootstrap

DIFFERENCES = (
    ("best_of_n/mean", "self_consistency"),
    ("weighted_vote/mean", "self_consistency"),
    ("weighted_vote/min", "best_of_n/mean"),
    ("beam_search", "best_of_n/mean"),
)
Values = dict[tuple[str, int], float]  # of one question, by name and n


def sizes_up_to(most: int) -> list[int]:
    """1, 2, 4, ... below the most, and the most."""
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def summary(
    questions: Sequence[EvaluationQuestion],
    gathered: Sequence[QuestionCandidates],
    plan: CandidatePlan,
    judge: Grader,
    *,
    num_draws: int,
) -> dict[str, Any]:
    """The report as `--json` prints it; each of `curves`, `differences` and `tokens` has an entry per n."""
    pairs = list(enumerate(zip(questions, gathered, strict=True)))
    per_question = [
        figures_of(rolled, question.answer, plan, judge, num_draws=num_draws, number=number)
        for number, (question, rolled) in track(pairs, "choosing", console=Console(stderr=True))
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
        "critic": gathered[0].critic,
    }


def figures_of(
    rolled: QuestionCandidates,
    answer: str,
    plan: CandidatePlan,
    judge: Grader,
    *,
    num_draws: int,
    number: int,
) -> Values:
    """Of one question: each method's share of right draws of N, and the tokens that N candidates take."""

    def is_right(stated: str | None) -> bool:
        return judge(stated, answer)

    pool = pool_of(rolled.texts, rolled.step_scores, is_right)
    order_SM = draws(
        plan.num_candidates,
        num_draws=num_draws,
        greedy_first=plan.include_greedy,
        seed=(plan.seed, number),
    )
    values: Values = {}
    first = int(plan.include_greedy)  # candidates that every draw holds
    for n in sizes_up_to(plan.num_candidates):
        for name, share in zip(METHODS, accuracies(pool, order_SM[:, :n]), strict=True):
            values[name, n] = float(share)
        sampled = (n - first) * float(np.mean(rolled.tokens[first:]))
        values["candidates_tokens", n] = sum(rolled.tokens[:first]) + sampled
    values["one_sample", 1] = float(pool.right_M[first:].mean())
    for n, text in rolled.beam_texts.items():
        values["beam_search", n] = float(is_right(final_answer(text)))
        values["beam_search_tokens", n] = float(rolled.beam_tokens[n])
    for better, worse in DIFFERENCES:
        for n in sizes_up_to(plan.num_candidates):
            if (better, n) in values:
                values[f"{better} - {worse}", n] = values[better, n] - values[worse, n]
    return values
