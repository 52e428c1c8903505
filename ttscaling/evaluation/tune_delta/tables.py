"""Show the report of `internvl3 tune-delta` as a table in the terminal and as Markdown."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.evaluation.question_sets import short_name
from ttscaling.reports.markdown import interval, table

HEADER = ("v2pe_delta", "right, %", "95 % interval", "too long")


def print_deltas(report: Mapping[str, Any], console: Console) -> None:
    """Print the table, the best delta, and the file that it was written to, or why it wasn't written."""
    view = Table(*HEADER, title=f"{report['n']} questions ({short_name(report['questions'])}), greedy")
    for column in view.columns:
        column.justify = "right"
    for entry in report["deltas"]:
        view.add_row(*_cells(entry), style="bold" if entry["v2pe_delta"] == report["best"] else "")
    console.print(view)
    console.print(_finding(report), soft_wrap=True)
    if report["written"]:
        console.print(
            f"Wrote the best delta to {report['written']}; a server started on this checkpoint uses it."
        )
    elif report["write"]:
        console.print("Nothing was written, because no delta is surely better than the present one.")


def delta_lines(report: Mapping[str, Any], plot: str | None) -> list[str]:
    """Return the report as lines of Markdown; `plot` is the address of the plot."""
    lines = table(HEADER, [_cells(entry) for entry in report["deltas"]])
    basis = f"The server answered {report['n']} questions greedily. The bootstrap has seed {report['seed']}."
    lines += ["", f"{basis} {_finding(report)}"]
    return lines + (["", f"![accuracy over delta]({plot})"] if plot else [])


def _cells(entry: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = f"{entry['low']:.1%}", f"{entry['high']:.1%}"
    name = str(Fraction(entry["v2pe_delta"]).limit_denominator(4096))
    return name, f"{100 * entry['accuracy']:.1f}", f"{low} to {high}", str(entry["too_long"])


def _finding(report: Mapping[str, Any]) -> str:
    best, current = (Fraction(report[key]).limit_denominator(4096) for key in ("best", "current"))
    if best == current:
        return f"The best delta is {best}, which the server already uses."
    gain = interval(report["gain"], "difference", sign="+")
    finding = (
        f"The best delta is {best}. Its gain over {current}, which the server uses now, is {gain} points."
    )
    if report["surely_better"]:
        return finding
    return f"{finding} So it isn't surely better; more questions would tell."
