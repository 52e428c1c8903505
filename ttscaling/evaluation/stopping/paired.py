"""Held-out questions asked with and without a stop rule, with the same seeds: paired accuracy and tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttscaling.answers.final_answer import final_answer
from ttscaling.asking.client import CHAT, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import SEEDS_APART, run_concurrently
from ttscaling.asking.graders import Grader
from ttscaling.evaluation.question_sets import EvaluationQuestion, load_questions
from ttscaling.reports.intervals import bootstrap
from ttscaling.selection.stopping import StopRule


@dataclass(frozen=True)
class PairedAnswer:
    """One request's worth: whether its answer is right, the tokens generated for it, what stopped it."""

    right: bool
    tokens: int
    stopped: str | None


async def measure(
    base_url: str, n_questions: int, n: int, rule: StopRule, judge: Grader, seed: int, concurrency: int
) -> list[tuple[PairedAnswer, PairedAnswer]]:
    """Every held-out question's (full, adaptive), in order. Raises EvaluationError at the first failure."""
    _, questions = load_questions(None, None, n_questions, seed)
    found: dict[int, tuple[PairedAnswer, PairedAnswer]] = {}
    async with connected(base_url) as server:

        async def work(number: int) -> None:
            question, first = questions[number], seed + number * SEEDS_APART
            full = await ask(server, question, {"n": n}, judge, first)
            found[number] = full, await ask(server, question, {"n": n, **fields_of(rule)}, judge, first)

        numbers = range(n_questions)
        await run_concurrently(
            numbers, work, total=n_questions, concurrency=concurrency, label="held-out questions"
        )
    return [found[number] for number in range(n_questions)]


async def ask(
    server: ServerClient, question: EvaluationQuestion, scaling: Mapping[str, Any], judge: Grader, seed: int
) -> PairedAnswer:
    """One request. Raises EvaluationError."""
    scaling = {"method": "best_of_n", "on_critic_error": "fail", **scaling}
    body = {"messages": [question.message], "seed": seed, "test_time_scaling": scaling}
    text, tokens, stopped = await reply_of(server, CHAT, body, _read_answer, expected="answer with its usage")
    return PairedAnswer(judge(final_answer(text), question.answer), tokens, stopped)


def _read_answer(reply: Mapping[str, Any]) -> tuple[str, int, str | None]:
    scaling, text = reply["test_time_scaling"], reply["choices"][0]["message"]["content"]
    return text or "", scaling["usage"]["policy"]["completion"], scaling["stopped"]


def fields_of(rule: StopRule) -> dict[str, Any]:
    """The rule as the request's `test_time_scaling` says it."""
    fields = {
        "stop_score": rule.score,
        "stop_agreement": rule.agreement,
        "max_parallel": rule.max_parallel,
    }
    return {name: value for name, value in fields.items() if value is not None}


def summary(answered: Sequence[tuple[PairedAnswer, PairedAnswer]], *, seed: int) -> dict[str, Any]:
    """The report as `--json` prints it. `saved` is a share of the tokens of all questions together."""
    values_N4 = np.array(
        [[full.right, adaptive.right, full.tokens, adaptive.tokens] for full, adaptive in answered],
        dtype=float,
    )

    def figures(means_R4: NDArray) -> NDArray[np.float64]:
        full_R, adaptive_R, spent_R, less_R = means_R4.T
        return np.stack(
            [full_R, adaptive_R, adaptive_R - full_R, spent_R, less_R, 1 - less_R / spent_R], axis=1
        )

    names = ("accuracy", "accuracy", "difference", "tokens", "tokens", "share")
    full, adaptive, difference, spent, less, saved = (
        {name: estimate.mean, "low": estimate.low, "high": estimate.high}
        for name, estimate in zip(names, bootstrap(values_N4, seed=seed, statistic=figures), strict=True)
    )
    reasons = [adaptive.stopped for _, adaptive in answered]
    return {
        "full": {"accuracy": full, "tokens": spent},
        "adaptive": {"accuracy": adaptive, "tokens": less},
        "difference": difference,
        "saved": saved,
        "stopped": {reason or "not": reasons.count(reason) for reason in dict.fromkeys(reasons)},
        "n_questions": len(answered),
        "seed": seed,
    }
