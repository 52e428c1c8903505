"""Ask each held-out question with and without a stop rule, and compare accuracy and tokens in pairs."""

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
    """Whether the answer to a request is right, the tokens generated for it, and the rule that stopped it."""

    right: bool
    tokens: int
    stopped: str | None


async def measure(
    base_url: str, n_questions: int, n: int, rule: StopRule, grade: Grader, seed: int, concurrency: int
) -> list[tuple[PairedAnswer, PairedAnswer]]:
    """Return a pair for each held-out question, in order: the answer without and with the stop rule.

    Both requests have the same seed. Raises CommandError at the first failure.
    """
    _, questions = load_questions(None, None, n_questions, seed)
    pairs: dict[int, tuple[PairedAnswer, PairedAnswer]] = {}
    async with connected(base_url) as server:

        async def work(number: int) -> None:
            question, first = questions[number], seed + number * SEEDS_APART
            full = await ask(server, question, {"n": n}, grade, first)
            pairs[number] = full, await ask(server, question, {"n": n, **fields_of(rule)}, grade, first)

        numbers = range(n_questions)
        await run_concurrently(
            numbers, work, total=n_questions, concurrency=concurrency, label="held-out questions"
        )
    return [pairs[number] for number in range(n_questions)]


async def ask(
    server: ServerClient, question: EvaluationQuestion, scaling: Mapping[str, Any], grade: Grader, seed: int
) -> PairedAnswer:
    """Send one request and return its graded answer. Raises CommandError."""
    scaling = {"method": "best_of_n", "on_critic_error": "fail", **scaling}
    body = {"messages": [question.message], "seed": seed, "test_time_scaling": scaling}
    text, tokens, stopped = await reply_of(server, CHAT, body, _read_answer, expected="answer with its usage")
    return PairedAnswer(grade(final_answer(text), question.answer), tokens, stopped)


def _read_answer(reply: Mapping[str, Any]) -> tuple[str, int, str | None]:
    scaling, text = reply["test_time_scaling"], reply["choices"][0]["message"]["content"]
    return text or "", scaling["usage"]["policy"]["completion"], scaling["stopped"]


def fields_of(rule: StopRule) -> dict[str, Any]:
    """Return the rule as fields of a request's `test_time_scaling`."""
    fields = {
        "stop_score": rule.score,
        "stop_agreement": rule.agreement,
        "max_parallel": rule.max_parallel,
    }
    return {name: value for name, value in fields.items() if value is not None}


def summary(pairs: Sequence[tuple[PairedAnswer, PairedAnswer]], *, seed: int) -> dict[str, Any]:
    """Return the report that `--json` prints; `saved` is a share of the tokens of all questions together."""
    values_N4 = np.array(
        [[full.right, adaptive.right, full.tokens, adaptive.tokens] for full, adaptive in pairs],
        dtype=float,
    )

    def figures(means_R4: NDArray) -> NDArray[np.float64]:
        full_R, adaptive_R, full_tokens_R, adaptive_tokens_R = means_R4.T
        saved_R = 1 - adaptive_tokens_R / full_tokens_R
        return np.stack(
            [full_R, adaptive_R, adaptive_R - full_R, full_tokens_R, adaptive_tokens_R, saved_R], axis=1
        )

    names = ("accuracy", "accuracy", "difference", "tokens", "tokens", "share")
    full, adaptive, difference, full_tokens, adaptive_tokens, saved = (
        {name: estimate.mean, "low": estimate.low, "high": estimate.high}
        for name, estimate in zip(names, bootstrap(values_N4, seed=seed, statistic=figures), strict=True)
    )
    reasons = [adaptive.stopped for _, adaptive in pairs]
    return {
        "full": {"accuracy": full, "tokens": full_tokens},
        "adaptive": {"accuracy": adaptive, "tokens": adaptive_tokens},
        "difference": difference,
        "saved": saved,
        "stopped": {reason or "not": reasons.count(reason) for reason in dict.fromkeys(reasons)},
        "n_questions": len(pairs),
        "seed": seed,
    }
