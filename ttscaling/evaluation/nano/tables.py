"""Show the report of `internvl3 eval nano` as tables in the terminal and as Markdown."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.reports.markdown import interval, table

METRICS = (
    "greedy",
    "pass@1",
    "majority@8",
    "log_prob_8",
    "orm_8",  # Only with --orm.
    "best_of_8",
    "weighted_vote_8",
    "pass@8",
)
TITLES = {
    "majority@8": "self-consistency over 8",
    "log_prob_8": "own log-probabilities, Best-of-8",
    "orm_8": "outcome reward model, Best-of-8",
    "best_of_8": "**critic, Best-of-8** (mean)",
    "weighted_vote_8": "weighted vote over 8 (min)",
}


def page_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report as lines of Markdown."""
    rows = []
    for name in (name for name in METRICS if name in report):
        ahead = report["differences"].get(f"best_of_8 - {name}")
        shown = interval(ahead, "difference", sign="+") if ahead else ""
        rows.append([TITLES.get(name, name), interval(report[name], "accuracy"), shown])
    way = interval(report["share_of_the_way"], "share")
    return [
        f"{report['n']} held-out questions (seed {report['seed']}) have eight candidates each, of which the "
        "first is greedy. Accuracies are in %, differences in points, with 95 % intervals.",
        "",
        *table(["", "accuracy", "Best-of-8 is ahead by"], rows),
        "",
        f"Best-of-8 gets {way} % of the way from pass@1 to pass@8.",
    ]


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print tables of the metrics, the differences and the kinds of questions."""
    accuracy = Table(
        "", "accuracy", "95 % interval", title=f"{report['n']} held-out questions, seed {report['seed']}"
    )
    metrics = [name for name in METRICS if name in report]
    for name in metrics:
        entry = report[name]
        accuracy.add_row(name, f"{entry['accuracy']:.1%}", f"{entry['low']:.1%} to {entry['high']:.1%}")
    differences = Table("paired difference", "points", "95 % interval")
    for name, entry in report["differences"].items():
        points = [f"{100 * entry[key]:+.1f}" for key in ("difference", "low", "high")]
        differences.add_row(name, points[0], f"{points[1]} to {points[2]}")
    way = report["share_of_the_way"]
    accuracy.caption = (
        f"best_of_8 gets {way['share']:.0%} of the way from pass@1 to pass@8 "
        f"({way['low']:.0%} to {way['high']:.0%})"
    )
    kinds = Table("kind", "n", *metrics)
    for kind, entry in report["kinds"].items():
        kinds.add_row(kind, str(entry["n"]), *(f"{entry[name]:.1%}" for name in metrics))
    for view in (accuracy, differences, kinds):
        for column in view.columns[1:]:
            column.justify = "right"
        console.print(view)
    if report["degraded"]:
        console.print(
            f"The critic failed for {report['degraded']} questions, so it didn't choose best_of_8 there; "
            "the server's log says why."
        )
