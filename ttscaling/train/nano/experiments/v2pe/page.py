"""What `internvl3 train nano-v2pe` found: a table for each medium, a plot, a block of a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.reports.markdown import interval, table
from ttscaling.reports.plots import drawing

TITLES = {"images": "several images", "video": "a video's frames"}


def rows(entries: Sequence[Mapping[str, Any]], figure: str) -> list[list[str]]:
    """A row for each delta with a cell for each length.

    `figure` is "accuracy", with its interval, "over_none", the paired difference to the row none, or
    "position", where the answer begins.
    """
    shown: dict[str, list[str]] = {}
    for entry in entries:
        if figure == "accuracy":
            cell = interval(entry, "accuracy")
        elif figure == "position":
            cell = f"{entry['position']:.0f}"
        else:
            cell = interval(entry["over_none"], "difference", sign="+")
        shown.setdefault(entry["delta"], []).append(cell)
    return [[delta, *cells] for delta, cells in shown.items()]


def header(report: Mapping[str, Any], medium: str) -> list[str]:
    """The lengths as multiples of the trained one, in tokens."""
    times = dict.fromkeys(entry["times"] for entry in report["media"][medium])
    lengths = [f"{factor}x ({factor * report['trained']} tokens)" for factor in times]
    return ["delta", *lengths]


def print_v2pe(report: Mapping[str, Any], console: Console) -> None:
    """The accuracies for a person."""
    for medium, entries in report["media"].items():
        shown = Table(*header(report, medium), title=f"{TITLES[medium]}: right, %, n {report['n']} a cell")
        for row in rows(entries, "accuracy"):
            shown.add_row(*row)
        console.print(shown)


def v2pe_lines(report: Mapping[str, Any], plot: str) -> list[str]:
    """All tables as Markdown, and the plot."""
    lines: list[str] = []
    for medium, entries in report["media"].items():
        head = header(report, medium)
        lines += [f"### A sheet among {TITLES[medium]}", "", "Right answers, %:", ""]
        lines += table(head, rows(entries, "accuracy"))
        lines += ["", "The paired difference to `none`, points:", ""]
        lines += table(head, rows(entries, "over_none")[1:])
        lines += ["", "Position at which the answer begins, on average:", ""]
        lines += [*table(head, rows(entries, "position")), ""]
    return [
        *lines,
        f"{report['n']} held-out questions a cell (seed {report['seed']}), greedy; 95 % intervals.",
        "",
        f"![accuracy over length]({plot})",
    ]


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Accuracy over the length, a line for each delta."""
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
