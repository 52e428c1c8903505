"""Report the V2PE experiment on nano: tables for each medium and a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.reports.markdown import interval, table
from ttscaling.reports.plots import drawing

TITLES = {"images": "several images", "video": "a video's frames"}


def rows(entries: Sequence[Mapping[str, Any]], figure: str) -> list[list[str]]:
    """Return a row for each delta, with a cell for each length.

    `figure` says what the cells hold: "accuracy" with its interval, "over_none" (the paired difference to the
    row `none`, with its interval), or "position" (the mean position at which the answer begins).
    """
    cells_of: dict[str, list[str]] = {}
    for entry in entries:
        if figure == "accuracy":
            cell = interval(entry, "accuracy")
        elif figure == "position":
            cell = f"{entry['position']:.0f}"
        else:
            cell = interval(entry["over_none"], "difference", sign="+")
        cells_of.setdefault(entry["delta"], []).append(cell)
    return [[delta, *cells] for delta, cells in cells_of.items()]


def header(report: Mapping[str, Any], medium: str) -> list[str]:
    """Return a table's header: the lengths as multiples of the trained length, and in tokens."""
    times = dict.fromkeys(entry["times"] for entry in report["media"][medium])
    lengths = [f"{factor}x ({factor * report['trained']} tokens)" for factor in times]
    return ["delta", *lengths]


def print_v2pe(report: Mapping[str, Any], console: Console) -> None:
    """Print the accuracies as tables for the terminal."""
    for medium, entries in report["media"].items():
        title = f"{TITLES[medium]}: right answers in %, {report['n']} questions a cell"
        rich_table = Table(*header(report, medium), title=title)
        for row in rows(entries, "accuracy"):
            rich_table.add_row(*row)
        console.print(rich_table)


def v2pe_lines(report: Mapping[str, Any], plot: str) -> list[str]:
    """Return all tables as lines of Markdown; `plot` is the address of the plot relative to the page."""
    lines: list[str] = []
    for medium, entries in report["media"].items():
        head = header(report, medium)
        lines += [f"### A sheet among {TITLES[medium]}", "", "This table shows the right answers in %:", ""]
        lines += table(head, rows(entries, "accuracy"))
        lines += ["", "This table shows the paired difference to `none` in points:", ""]
        lines += table(head, rows(entries, "over_none")[1:])
        lines += ["", "This table shows the position at which the answer begins, on average:", ""]
        lines += [*table(head, rows(entries, "position")), ""]
    return [
        *lines,
        f"Each cell has {report['n']} held-out questions (seed {report['seed']}), answered greedily. The "
        "intervals are 95 % intervals over questions.",
        "",
        f"![right answers over the length, a line for each delta]({plot})",
    ]


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw the accuracy over the length, with a line for each delta."""
    with drawing(path, 11, 4, ncols=len(report["media"]), sharey=True) as panels:
        for axes, (medium, entries) in zip(panels, report["media"].items(), strict=True):
            for delta in dict.fromkeys(entry["delta"] for entry in entries):
                of_delta = [entry for entry in entries if entry["delta"] == delta]
                times = [entry["times"] for entry in of_delta]
                style = "k--" if delta == "none" else "o-"
                axes.plot(times, [100 * entry["accuracy"] for entry in of_delta], style, label=delta)
            axes.set_xscale("log", base=2)
            axes.set_xticks(times, [f"{factor}x" for factor in times])
            axes.set_xlabel("length, in trained lengths")
            axes.set_title(TITLES[medium])
        panels[0].set_ylabel("right answers, %")
        panels[-1].legend(title="delta", frameon=False)
