"""`internvl3 eval nano`: what Best-of-8 is worth on held-out sheets, measured through a running server.

Each question is one chat completion with eight candidates, and all figures come from the same candidates:
greedy (candidate 0), pass@1 (mean over the seven sampled ones), majority@8, best_of_8 (the critic's choice)
and pass@8 (any of them is right). Intervals are 95 % percentile bootstrap over questions, so differences are
paired.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from ttscaling.answers import final_answer, majority, same_answer

from .asking import (
    DEFAULT_URL,
    AsJson,
    BaseUrl,
    Concurrency,
    EvaluationError,
    Server,
    connected,
    each,
    finish,
)
from .intervals import bootstrap
from .questions import Question, heldout_questions

N = 8
METRICS = ("greedy", "pass@1", "majority@8", "best_of_8", "pass@8")
BASELINES = ("pass@1", "majority@8", "greedy")  # what best_of_8 is compared with
SEEDS_APART = 1000  # between questions: candidate i of a question is sampled with its seed + i


@dataclass(frozen=True)
class Outcome:
    """One question's figures in the order of METRICS, each in [0, 1]; `degraded`: the critic failed."""

    kind: str
    values: tuple[float, ...]
    degraded: bool


def nano(
    n: Annotated[int, typer.Option(min=1, help="How many held-out questions.")] = 300,
    base_url: BaseUrl = DEFAULT_URL,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions, the sampling and the bootstrap.")] = 777,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Greedy, pass@1, majority@8, Best-of-8 and pass@8 of the embedded model, with 95 % intervals."""

    def report() -> dict[str, Any]:
        return summary(asyncio.run(ask_all(base_url, n, seed=seed, concurrency=concurrency)), seed=seed)

    finish(report, print_report, as_json)


async def ask_all(base_url: str, n: int, *, seed: int, concurrency: int) -> list[Outcome]:
    """The outcome of every question, in their order. Raises EvaluationError at the first failure."""
    outcomes: dict[int, Outcome] = {}
    async with connected(base_url) as server:

        async def work(numbered: tuple[int, Question]) -> None:
            number, question = numbered
            outcomes[number] = await ask(server, question, seed=seed + number * SEEDS_APART)

        questions = enumerate(heldout_questions(n, seed))
        await each(questions, work, total=n, concurrency=concurrency, label="held-out questions")
    return [outcomes[number] for number in range(n)]


async def ask(server: Server, question: Question, *, seed: int) -> Outcome:
    """One Best-of-8 request. Raises EvaluationError."""
    body = {
        "messages": [question.message],
        "test_time_scaling": {"n": N, "return_candidates": True},
        "seed": seed,
    }
    reply = await server.post("/v1/chat/completions", body)
    try:
        return outcome(question, reply)
    except (ValueError, KeyError, TypeError) as error:
        message = (
            f"the reply holds no candidates ({type(error).__name__}: {error}); is it an internvl3 server?"
        )
        raise EvaluationError(message) from error


def outcome(question: Question, reply: Mapping[str, Any]) -> Outcome:
    """What the reply's candidates are worth; KeyError, ValueError or TypeError for another kind of reply."""
    scaling = reply["test_time_scaling"]
    stated = [final_answer(candidate["text"]) for candidate in scaling["candidates"]]
    if len(stated) != N:
        raise ValueError(f"{len(stated)} candidates, not {N}")
    right = [answer is not None and same_answer(answer, question.answer) for answer in stated]
    values = (
        right[0],
        sum(right[1:]) / (N - 1),
        right[majority(stated)],
        right[scaling["selected"]],
        any(right),
    )
    return Outcome(question.kind, tuple(map(float, values)), scaling["degraded"] is not None)


def summary(outcomes: Sequence[Outcome], *, seed: int) -> dict[str, Any]:
    """The report as `--json` prints it: metrics, best_of_8's paired differences, the means of each kind."""
    values_NM = np.array([outcome.values for outcome in outcomes])
    best = METRICS.index("best_of_8")
    differences_NB = np.stack(
        [values_NM[:, best] - values_NM[:, METRICS.index(b)] for b in BASELINES], axis=1
    )
    estimates = bootstrap(np.concatenate([values_NM, differences_NB], axis=1), seed=seed)
    report: dict[str, Any] = {
        name: {"accuracy": e.mean, "low": e.low, "high": e.high}
        for name, e in zip(METRICS, estimates[: len(METRICS)], strict=True)
    }
    report["differences"] = {
        f"best_of_8 - {name}": {"difference": e.mean, "low": e.low, "high": e.high}
        for name, e in zip(BASELINES, estimates[len(METRICS) :], strict=True)
    }
    report["kinds"] = {}
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        of_kind_KM = values_NM[[outcome.kind == kind for outcome in outcomes]]
        means = dict(zip(METRICS, of_kind_KM.mean(axis=0).tolist(), strict=True))
        report["kinds"][kind] = {"n": len(of_kind_KM), **means}
    report |= {"n": len(outcomes), "seed": seed, "degraded": sum(outcome.degraded for outcome in outcomes)}
    return report


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Tables for a person: the metrics, the differences, the kinds."""
    accuracy = Table(
        "", "accuracy", "95 % interval", title=f"{report['n']} held-out questions, seed {report['seed']}"
    )
    for name in METRICS:
        entry = report[name]
        accuracy.add_row(name, f"{entry['accuracy']:.1%}", f"{entry['low']:.1%} to {entry['high']:.1%}")
    differences = Table("paired difference", "points", "95 % interval")
    for name, entry in report["differences"].items():
        points = [f"{100 * entry[key]:+.1f}" for key in ("difference", "low", "high")]
        differences.add_row(name, points[0], f"{points[1]} to {points[2]}")
    kinds = Table("kind", "n", *METRICS)
    for kind, entry in report["kinds"].items():
        kinds.add_row(kind, str(entry["n"]), *(f"{entry[name]:.1%}" for name in METRICS))
    for table in (accuracy, differences, kinds):
        for column in table.columns[1:]:
            column.justify = "right"
        console.print(table)
    if report["degraded"]:
        console.print(
            f"For {report['degraded']} questions the critic failed: best_of_8 is not the critic's there."
        )
