"""`internvl3 eval critic`: VisualProcessBench's figure of the critic that a server holds."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ttscaling.asking.client import DEFAULT_URL, BaseUrl
from ttscaling.asking.concurrency import Concurrency
from ttscaling.console import AsJson, CommandError, run_command, warn
from ttscaling.evaluation.question_sets import MediaFolder
from ttscaling.records.bad_records import BadRecords, TooManyBadRecordsError
from ttscaling.reports.intervals import bootstrap
from ttscaling.reports.step_f1 import THRESHOLD, best_threshold, f1_of, macro_f1, step_counts

from .solutions import ScoredSolution, judge_file

COLUMNS = ("f1_wrong", "f1_right", "macro_f1")


def critic(
    file: Annotated[Path, typer.Argument(help="Solutions in VisualProcessBench's format, one a line.")],
    base_url: BaseUrl = DEFAULT_URL,
    threshold: Annotated[
        float, typer.Option(help="A step is called right if its score is above this.")
    ] = THRESHOLD,
    images: MediaFolder = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Keep step scores in this file; a run that was cut off goes on from it."),
    ] = None,
    bad: Annotated[
        float, typer.Option(min=0, max=1, help="The share of records that may be unusable before it stops.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 777,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Macro F1 of the critic on steps that people marked, per source and overall, with 95 % intervals.

    Scores every solution of FILE through the server's /v1/critic/score. Neutral steps are left out; the
    overall figure pools the steps of all sources, as the paper does:

        internvl3 eval critic VisualProcessBench/test.jsonl --scores runs/scores.jsonl --json
    """

    def report() -> dict[str, Any]:
        faults = BadRecords(allowed=bad, tell=warn)
        judging = judge_file(
            file, images or file.parent, base_url, faults, scores=scores, concurrency=concurrency
        )
        try:
            judged = asyncio.run(judging)
        except (TooManyBadRecordsError, OSError) as error:
            raise CommandError(str(error)) from error
        figures = summary(judged, threshold=threshold, seed=seed)
        return figures | {"bad": faults.bad, "bad_examples": faults.examples}

    run_command(report, print_report, as_json)


def summary(judged: Sequence[ScoredSolution], *, threshold: float, seed: int) -> dict[str, Any]:
    """The report as `--json` prints it. Raises EvaluationError where there is nothing to measure."""
    critics = sorted({solution.critic for solution in judged})
    if len(critics) > 1:
        raise CommandError(f"the scores are of several critics ({', '.join(critics)}): keep them apart")
    marked = [solution for solution in judged if any(solution.marks)]
    if not marked:
        raise CommandError("no solution has a step marked right or wrong: there is nothing to measure")
    sources = sorted({solution.source for solution in marked})
    counts_NS4 = np.zeros((len(marked), len(sources), 4))
    for row, solution in zip(counts_NS4, marked, strict=True):
        row[sources.index(solution.source)] = step_counts(
            solution.scores, solution.marks, threshold=threshold
        )

    def figures(means_RC: NDArray) -> NDArray[np.float64]:
        means_RS4 = means_RC.reshape(-1, len(sources), 4)
        of_sources_RS3, pooled_R3 = f1_of(means_RS4), f1_of(means_RS4.sum(axis=1))
        groups = (of_sources_RS3.reshape(len(means_RC), -1), pooled_R3, of_sources_RS3.mean(axis=1))
        return np.concatenate(groups, axis=1)

    estimates = bootstrap(counts_NS4.reshape(len(marked), -1), seed=seed, statistic=figures)
    entries = [
        {
            name: {"f1": estimate.mean, "low": estimate.low, "high": estimate.high}
            for name, estimate in zip(COLUMNS, estimates[at : at + 3], strict=True)
        }
        for at in range(0, len(estimates), 3)
    ]
    sizes = {name: sum(solution.source == name for solution in marked) for name in sources}
    scores = [score for solution in marked for score in solution.scores]
    marks = [mark for solution in marked for mark in solution.marks]
    best = best_threshold(scores, marks)
    return {
        "overall": entries[-2],
        "mean_of_sources": entries[-1],
        "sources": {
            name: {"n": size, **entry}
            for (name, size), entry in zip(sizes.items(), entries[:-2], strict=True)
        },
        "threshold": threshold,
        "best_threshold": {"threshold": best, "macro_f1": macro_f1(scores, marks, threshold=best).macro},
        "critic": critics[0],
        "n": len(marked),
        "steps": {"right": marks.count(1), "wrong": marks.count(-1), "neutral": marks.count(0)},
        "seed": seed,
    }


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """A table for a person."""
    title = f"{report['critic']}: steps scored above {report['threshold']:g} are called right"
    table = Table("", "n", *COLUMNS, "95 % interval", title=title)
    rows = {**report["sources"], "mean of sources": report["mean_of_sources"], "overall": report["overall"]}
    for name, entry in rows.items():
        f1s, macro = [f"{100 * entry[column]['f1']:.1f}" for column in COLUMNS], entry["macro_f1"]
        interval = f"{100 * macro['low']:.1f} to {100 * macro['high']:.1f}"
        table.add_row(name, str(entry.get("n", report["n"])), *f1s, interval)
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    best = report["best_threshold"]
    console.print(
        f"With the threshold that suits these very steps best, {best['threshold']:.3g}, macro F1 would be "
        f"{100 * best['macro_f1']:.1f}."
    )
    if report["bad"]:
        console.print(f"{report['bad']} records could not be used; the first of them are named above.")
