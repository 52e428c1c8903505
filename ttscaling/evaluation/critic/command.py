"""The command `internvl3 eval critic`, which measures a server's critic on VisualProcessBench."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ttscaling.asking.address import DEFAULT_URL, ApiKey, BaseUrl, Header, address_of
from ttscaling.asking.concurrency import Concurrency
from ttscaling.console import AsJson, CommandError, run_command, warn
from ttscaling.evaluation.question_sets import MediaFolder
from ttscaling.records.bad_records import BadRecords, TooManyBadRecordsError
from ttscaling.reports.intervals import bootstrap
from ttscaling.reports.step_f1 import THRESHOLD, best_threshold, f1_of, macro_f1, step_counts

from .solutions import ScoredSolution, score_file

COLUMNS = ("f1_wrong", "f1_right", "macro_f1")


def critic(
    file: Annotated[
        Path, typer.Argument(help="A file of solutions in VisualProcessBench's format, one a line.")
    ],
    base_url: BaseUrl = DEFAULT_URL,
    api_key: ApiKey = None,
    header: Header = None,
    threshold: Annotated[
        float, typer.Option(help="A step is called right if its score is above this threshold.")
    ] = THRESHOLD,
    images: MediaFolder = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Keep the step scores in this file. A run that was cut off continues from it."),
    ] = None,
    bad: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="The share of records that may be bad, 0 to 1. With more the command fails."
        ),
    ] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the bootstrap.")] = 777,
    concurrency: Concurrency = 8,
    as_json: AsJson = False,
) -> None:
    """Measure the critic's macro F1 on steps that people marked, per source and overall.

    The server's /v1/critic/score scores every solution of FILE. Neutral steps are left out. The overall
    figure pools the steps of all sources, as the paper does. All figures have 95 % intervals:

        internvl3 eval critic VisualProcessBench/test.jsonl --scores runs/scores.jsonl --json
    """

    def report() -> dict[str, Any]:
        bad_records = BadRecords(allowed=bad, tell=warn)
        scoring = score_file(
            file,
            images or file.parent,
            address_of(base_url, api_key, header),
            bad_records,
            scores=scores,
            concurrency=concurrency,
        )
        try:
            solutions = asyncio.run(scoring)
        except (TooManyBadRecordsError, OSError) as error:
            raise CommandError(str(error)) from error
        figures = summary(solutions, threshold=threshold, seed=seed)
        return figures | {"bad": bad_records.bad, "bad_examples": bad_records.examples}

    run_command(report, print_report, as_json)


def summary(solutions: Sequence[ScoredSolution], *, threshold: float, seed: int) -> dict[str, Any]:
    """Return the report that `--json` prints.

    Raises CommandError if no step is marked right or wrong, or if several critics gave the scores.
    """
    critics = sorted({solution.critic for solution in solutions})
    if len(critics) > 1:
        raise CommandError(
            f"several critics gave these scores ({', '.join(critics)}): use a --scores file for each critic"
        )
    marked = [solution for solution in solutions if any(solution.marks)]
    if not marked:
        raise CommandError("no solution has a step that is marked right or wrong: use a FILE with such marks")
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
            for name, estimate in zip(COLUMNS, estimates[first : first + 3], strict=True)
        }
        for first in range(0, len(estimates), 3)
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
    """Print the report as a table."""
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
        f"With the threshold that is best on these steps, {best['threshold']:.3g}, macro F1 would be "
        f"{100 * best['macro_f1']:.1f}."
    )
    if report["bad"]:
        console.print(f"{report['bad']} records could not be used; the first ones are named above.")
