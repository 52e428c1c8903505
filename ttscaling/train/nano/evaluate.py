"""`internvl3 eval nano`: what Best-of-8 is worth on held-out sheets, measured through a running server.

Each question is one chat completion with eight candidates, and all figures come from the same candidates:
greedy (candidate 0), pass@1 (mean over the seven sampled ones), majority@8, best_of_8 (the critic's choice)
and pass@8 (any of them is right). Intervals are 95 % percentile bootstrap over questions, so differences are
paired.
"""

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from ttscaling.answers import final_answer, majority, same_answer

from .problems import Problem, heldout

N = 8
METRICS = ("greedy", "pass@1", "majority@8", "best_of_8", "pass@8")
BASELINES = ("pass@1", "majority@8", "greedy")  # what best_of_8 is compared with
RESAMPLES = 10_000
SEEDS_APART = 1000  # between questions: candidate i of a question is sampled with its seed + i


@dataclass(frozen=True)
class Outcome:
    """One question's figures in the order of METRICS, each in [0, 1]; `degraded`: the critic failed."""

    kind: str
    values: tuple[float, ...]
    degraded: bool


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its 95 % interval."""

    mean: float
    low: float
    high: float


class EvaluationError(Exception):
    """The server could not be measured; the message says what to do."""


app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Measure a running server on held-out questions."
)


@app.callback()
def _group() -> None:
    """Keeps `nano` a sub-command while it is the only one."""


@app.command()
def nano(
    n: Annotated[int, typer.Option(min=1, help="How many held-out questions.")] = 300,
    base_url: Annotated[str, typer.Option(help="The server's address.")] = "http://127.0.0.1:8000",
    seed: Annotated[int, typer.Option(min=0, help="Of the questions, the sampling and the bootstrap.")] = 777,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions asked at the same time.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Greedy, pass@1, majority@8, Best-of-8 and pass@8 of the embedded model, with 95 % intervals."""
    root = base_url.rstrip("/").removesuffix("/v1")
    try:
        outcomes = asyncio.run(ask_all(root, heldout(n, seed), n=n, seed=seed, concurrency=concurrency))
    except EvaluationError as error:
        Console(stderr=True).print(f"error: {error}", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None
    report = summary(outcomes, seed=seed)
    print_report(report, Console())
    if as_json:
        print(json.dumps(report))


async def ask_all(
    root: str, problems: Iterator[Problem], *, n: int, seed: int, concurrency: int
) -> list[Outcome]:
    """The outcome of every problem, in their order. Raises EvaluationError at the first failure."""
    outcomes: dict[int, Outcome] = {}
    numbered = enumerate(problems)  # shared: each worker takes the next
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        questions = bar.add_task("held-out questions", total=n)

        async def work(client: httpx.AsyncClient) -> None:
            for number, problem in numbered:
                outcomes[number] = await ask(client, problem, seed=seed + number * SEEDS_APART)
                bar.advance(questions)

        try:
            async with (
                httpx.AsyncClient(base_url=root, timeout=600.0) as client,
                asyncio.TaskGroup() as workers,
            ):
                for _ in range(min(concurrency, n)):
                    workers.create_task(work(client))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    return [outcomes[number] for number in range(n)]


async def ask(client: httpx.AsyncClient, problem: Problem, *, seed: int) -> Outcome:
    """One Best-of-8 request. Raises EvaluationError."""
    body = {
        "messages": [
            {"role": "user", "content": [image_part(problem), {"type": "text", "text": problem.question}]}
        ],
        "test_time_scaling": {"n": N, "return_candidates": True},
        "seed": seed,
    }
    try:
        response = await client.post("/v1/chat/completions", json=body)
        response.raise_for_status()
        return outcome(problem, response.json())
    except httpx.ConnectError:
        message = f"no server answers at {client.base_url}; start one with: internvl3 serve"
        raise EvaluationError(message) from None
    except httpx.HTTPStatusError as error:
        message = f"the server refused (HTTP {error.response.status_code}): {error.response.text[:300]}"
        raise EvaluationError(message) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EvaluationError(f"asking {client.base_url} failed: {type(error).__name__}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        message = (
            f"the reply holds no candidates ({type(error).__name__}: {error}); is it an internvl3 server?"
        )
        raise EvaluationError(message) from error


def image_part(problem: Problem) -> Mapping[str, Any]:
    """The sheet as an OpenAI content part, losslessly."""
    png = BytesIO()
    problem.image.save(png, format="PNG")
    url = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def outcome(problem: Problem, reply: Mapping[str, Any]) -> Outcome:
    """What the reply's candidates are worth; KeyError, ValueError or TypeError for another kind of reply."""
    scaling = reply["test_time_scaling"]
    stated = [final_answer(candidate["text"]) for candidate in scaling["candidates"]]
    if len(stated) != N:
        raise ValueError(f"{len(stated)} candidates, not {N}")
    right = [answer is not None and same_answer(answer, problem.answer) for answer in stated]
    values = (
        right[0],
        sum(right[1:]) / (N - 1),
        right[majority(stated)],
        right[scaling["selected"]],
        any(right),
    )
    return Outcome(problem.kind, tuple(map(float, values)), scaling["degraded"] is not None)


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


def bootstrap(values_NC: np.ndarray, *, seed: int) -> list[Estimate]:
    """Mean of each column with its percentile interval; whole rows are drawn, which keeps columns paired."""
    num_rows = len(values_NC)
    shares = np.full(num_rows, 1 / num_rows)
    weights_RN = np.random.default_rng(seed).multinomial(num_rows, shares, size=RESAMPLES) / num_rows
    low_C, high_C = np.quantile(weights_RN @ values_NC, [0.025, 0.975], axis=0)
    columns = zip(values_NC.mean(axis=0).tolist(), low_C.tolist(), high_C.tolist(), strict=True)
    return [Estimate(*column) for column in columns]


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
