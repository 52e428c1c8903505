"""Report the MPO experiment on nano: figures with intervals, tables and a plot.

Shapes: S seeds, N questions, M figures of `answering.METRICS`, V variants.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ttscaling.reports.intervals import bootstrap
from ttscaling.reports.markdown import interval, table
from ttscaling.reports.plots import drawing

from .answering import METRICS

SHOWN = ("pass@1", "greedy", "best_of_8")


def summary(
    before_SNM: NDArray[np.float64], after: Mapping[str, NDArray[np.float64]], *, seed: int
) -> dict[str, Any]:
    """Return the figures before MPO and after each variant, with the paired differences.

    All figures are means over seeds. The bootstrap draws questions, each with its figures of all seeds, so
    the intervals are over questions. `seeds` holds the difference of each seed.
    """
    before_NM = before_SNM.mean(axis=0)
    report: dict[str, Any] = {"before": _figures(before_NM, seed), "after": {}}
    for name, after_SNM in after.items():
        change_SNM = after_SNM - before_SNM[: len(after_SNM)]  # not every variant has every seed
        changes = {
            metric: {"difference": e.mean, "low": e.low, "high": e.high}
            for metric, e in zip(METRICS, bootstrap(change_SNM.mean(axis=0), seed=seed), strict=True)
        }
        of_seed_SM = change_SNM.mean(axis=1)
        for column, metric in enumerate(METRICS):
            changes[metric]["seeds"] = of_seed_SM[:, column].tolist()
        report["after"][name] = {**_figures(after_SNM.mean(axis=0), seed), "change": changes}
    return report | {"n": before_SNM.shape[1], "seeds": before_SNM.shape[0]}


def _figures(values_NM: NDArray[np.float64], seed: int) -> dict[str, Any]:
    return {
        metric: {"accuracy": e.mean, "low": e.low, "high": e.high}
        for metric, e in zip(METRICS, bootstrap(values_NM, seed=seed), strict=True)
    }


def rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Return table rows: one for the policy before MPO, and one with figures and changes for each variant."""
    lines = [["before", *(interval(report["before"][metric], "accuracy") for metric in SHOWN)]]
    for name, entry in report["after"].items():
        cells = []
        for metric in SHOWN:
            change = interval(entry["change"][metric], "difference", sign="+")
            cells.append(f"{100 * entry[metric]['accuracy']:.1f}, {change}")
        seeds = len(entry["change"]["pass@1"]["seeds"])
        lines.append([name if seeds == report["seeds"] else f"{name} (seeds: {seeds})", *cells])
    return lines


def print_mpo(report: Mapping[str, Any], console: Console) -> None:
    """Print the figures as a table for the terminal."""
    rich_table = Table("", *SHOWN, title=f"{report['n']} held-out questions, {report['seeds']} seeds, %")
    for line in rows(report):
        rich_table.add_row(*line)
    console.print(rich_table)


def mpo_lines(report: Mapping[str, Any], plot: str) -> list[str]:
    """Return the figures and the search of the learning rate as lines of Markdown.

    `plot` is the address of the plot relative to the page.
    """
    rate_rows = [[f"{float(rate):g}", f"{100 * share:.1f}"] for rate, share in report["rates"].items()]
    return [
        *table(["", *SHOWN], rows(report)),
        "",
        f"There are {report['n']} held-out questions and {report['seeds']} seeds (of pairs, data order and "
        f"sampling). The learning rate is {report['rate']:g}. The figures are means over seeds in %, and the "
        "95 % intervals are over questions. For a variant, the paired change stands beside the figure.",
        "",
        f"![changes of pass@1 by variant, and preferences during training]({plot})",
        "",
        *table(["learning rate", "pass@1 on training drawings, %"], rate_rows),
    ]


def read_log(output: Path) -> list[dict[str, float]]:
    """Return the logged figures of every step of a run."""
    lines = (json.loads(line) for line in (output / "log.jsonl").read_text().splitlines())
    return [line for line in lines if "preferred" in line]


def draw(report: Mapping[str, Any], curves: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Draw the changes of pass@1 as bars, and the share of preferred chosen responses over the steps."""
    with drawing(path, 11, 4, ncols=2) as (bars, lines):
        names = list(report["after"])
        for bar_number, name in enumerate(names):
            change = report["after"][name]["change"]["pass@1"]
            value, low, high = (100 * change[key] for key in ("difference", "low", "high"))
            bars.barh(bar_number, value, xerr=[[value - low], [high - value]], capsize=3)
            of_seeds = [100 * seed for seed in change["seeds"]]
            bars.plot(of_seeds, [bar_number] * len(of_seeds), "k.", markersize=4)
        bars.set_yticks(range(len(names)), names)
        bars.invert_yaxis()
        bars.axvline(0, color="grey", linewidth=0.8)
        bars.set_xlabel("change of pass@1, points (dots: seeds)")
        for name, steps in curves.items():
            smoothed = np.convolve([step["preferred"] for step in steps], np.ones(15) / 15, mode="valid")
            lines.plot(np.arange(len(smoothed)) + 15, 100 * smoothed, label=name)
        lines.set_xlabel("step")
        lines.set_ylabel("pairs whose chosen response gained more, %")
        lines.legend(frameon=False)
