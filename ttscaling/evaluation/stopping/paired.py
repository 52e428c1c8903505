"""Ask each question with and without a stop rule, and compare accuracy, tokens and seconds in pairs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttscaling.asking.address import Address
from ttscaling.asking.client import CHAT, ServerClient, connected, reply_of
from ttscaling.asking.concurrency import SEEDS_APART, run_concurrently
from ttscaling.asking.graders import Grader, stated_answer
from ttscaling.evaluation.question_sets import EvaluationQuestion
from ttscaling.reports.intervals import bootstrap
from ttscaling.selection.stopping import StopRule

Clock = Callable[[], float]
"""Returns seconds since any fixed moment."""


@dataclass(frozen=True)
class PairedAnswer:
    """Whether the answer to a request is right, and what the request took.

    `tokens` were generated for it, `seconds` passed until its reply, and `stopped` names the rule that ended
    it.
    """

    right: bool
    tokens: int
    seconds: float
    stopped: str | None


@dataclass(frozen=True, kw_only=True)
class PairedPlan:
    """The settings of the requests; `fields`, such as a temperature, are added to each body unchanged."""

    n: int
    rule: StopRule
    seed: int
    fields: Mapping[str, Any]


async def measure(
    address: Address,
    questions: Sequence[EvaluationQuestion],
    plan: PairedPlan,
    grade: Grader,
    *,
    concurrency: int,
    clock: Clock = time.perf_counter,
) -> list[tuple[PairedAnswer, PairedAnswer]]:
    """Return a pair for each question, in order: the answer without and with the stop rule.

    Both requests have the same seed. The second request about a question finds its image and prompt in the
    server's caches, so every other question is asked with the rule first. Raises CommandError at the first
    failure.
    """
    pairs: dict[int, tuple[PairedAnswer, PairedAnswer]] = {}
    async with connected(address) as server:

        async def work(number: int) -> None:
            async def ask(rule: Mapping[str, Any]) -> PairedAnswer:
                return await _ask(server, questions[number], number, plan, rule, grade, clock)

            if number % 2:
                adaptive, full = await ask(fields_of(plan.rule)), await ask({})
            else:
                full, adaptive = await ask({}), await ask(fields_of(plan.rule))
            pairs[number] = full, adaptive

        total = len(questions)
        await run_concurrently(range(total), work, total=total, concurrency=concurrency, label="questions")
    return [pairs[number] for number in range(len(questions))]


async def _ask(
    server: ServerClient,
    question: EvaluationQuestion,
    number: int,
    plan: PairedPlan,
    rule: Mapping[str, Any],
    grade: Grader,
    clock: Clock,
) -> PairedAnswer:
    body = {
        "messages": [question.message],
        "seed": plan.seed + number * SEEDS_APART,
        "test_time_scaling": {"method": "best_of_n", "on_critic_error": "fail", "n": plan.n, **rule},
        **plan.fields,
    }
    begin = clock()
    answer, tokens, stopped = await reply_of(
        server, CHAT, body, _read_answer, expected="answer with its usage"
    )
    return PairedAnswer(grade(answer, question.answer), tokens, clock() - begin, stopped)


def _read_answer(reply: Mapping[str, Any]) -> tuple[str | None, int, str | None]:
    scaling = reply["test_time_scaling"]
    return stated_answer(reply["choices"][0]), scaling["usage"]["policy"]["completion"], scaling["stopped"]


def fields_of(rule: StopRule) -> dict[str, Any]:
    """Return the rule as fields of a request's `test_time_scaling`."""
    fields = {
        "stop_score": rule.score,
        "stop_agreement": rule.agreement,
        "max_parallel": rule.max_parallel,
    }
    return {name: value for name, value in fields.items() if value is not None}


def summary(pairs: Sequence[tuple[PairedAnswer, PairedAnswer]], *, seed: int) -> dict[str, Any]:
    """Return the report that `--json` prints.

    `saved` and `saved_seconds` are shares of the tokens and of the seconds of all questions together.
    """
    values_N6 = np.array(
        [[value for one in pair for value in (one.right, one.tokens, one.seconds)] for pair in pairs],
        dtype=float,
    )

    def figures(means_R6: NDArray) -> NDArray[np.float64]:
        right_R, tokens_R, seconds_R, *adaptive = means_R6.T
        differences = [adaptive[0] - right_R, 1 - adaptive[1] / tokens_R, 1 - adaptive[2] / seconds_R]
        return np.stack([*means_R6.T, *differences], axis=1)

    names = (*("accuracy", "tokens", "seconds") * 2, "difference", "share", "share")
    entries = [
        {name: estimate.mean, "low": estimate.low, "high": estimate.high}
        for name, estimate in zip(names, bootstrap(values_N6, seed=seed, statistic=figures), strict=True)
    ]
    reasons = [adaptive.stopped for _, adaptive in pairs]
    return {
        "full": dict(zip(names[:3], entries[:3], strict=True)),
        "adaptive": dict(zip(names[:3], entries[3:6], strict=True)),
        "difference": entries[6],
        "saved": entries[7],
        "saved_seconds": entries[8],
        "stopped": {reason or "not": reasons.count(reason) for reason in dict.fromkeys(reasons)},
        "n_questions": len(pairs),
        "seed": seed,
    }
