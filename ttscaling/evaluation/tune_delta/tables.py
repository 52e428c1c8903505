"""What `internvl3 tune-delta` found, for a person: a table in the terminal, one in Markdown."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.reports.markdown import interval, table

HEADER = ("v2pe_delta", "right, %", "95 % interval", "too long")


def print_deltas(report: Mapping[str, Any], console: Console) -> None:
    """The table, what it says, and where the best was written."""
    shown = Table(*HEADER, title=f"{report['n']} questions ({report['questions'].partition(',')[0]}), greedy")
    for column in shown.columns:
        column.justify = "right"
    for entry in report["deltas"]:
        shown.add_row(*_cells(entry), style="bold" if entry["v2pe_delta"] == report["best"] else "")
    console.print(shown)
    console.print(_finding(report), soft_wrap=True)
    if report["written"]:
        console.print(f"written to {report['written']}: a server started on it takes this delta")


def delta_lines(report: Mapping[str, Any], plot: str | None) -> list[str]:
    """The same as Markdown."""
    lines = table(HEADER, [_cells(entry) for entry in report["deltas"]])
    lines += ["", f"{report['n']} questions, greedy, bootstrap seed {report['seed']}. {_finding(report)}"]
    return lines + (["", f"![accuracy over delta]({plot})"] if plot else [])


def _cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = f"{entry['low']:.1%}", f"{entry['high']:.1%}"
    name = str(Fraction(entry["v2pe_delta"]).limit_denominator(4096))
    return name, f"{100 * entry['accuracy']:.1f}", f"{low} to {high}", str(entry["too_long"])


def _finding(report: Mapping[str, Any]) -> str:
    best, current = (Fraction(report[key]).limit_denominator(4096) for key in ("best", "current"))
    if best == current:
        return f"The best is {best}, which the server takes already."
    gained = interval(report["gain"], "difference", sign="+")
    return f"The best is {best}: {gained} points over {current}, which the server takes now."
