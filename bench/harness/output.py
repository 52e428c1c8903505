"""Print a benchmark's report as a table, as JSON and as a plot."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .report import Report, machine

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
PlotOption = Annotated[
    Path | None, typer.Option(help="Draw the figures into this file (.png, .svg or .pdf).", metavar="FILE")
]


def progress(console: Console) -> Progress:
    """Return the progress bar of a benchmark, whose steps are the turns of `measure`."""
    return Progress(
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def _cell(value: Any) -> Text:
    if value is None:
        return Text()
    return Text(f"{value:.4g}" if isinstance(value, float) else str(value))


def _table(report: Report) -> Table:
    columns = list(dict.fromkeys(name for row in report.rows for name in row))
    table = Table(title=f"bench {report.bench}")
    for name in columns:
        numeric = any(isinstance(row.get(name), int | float) for row in report.rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in report.rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    return table


def print_report(report: Report, *, as_json: bool, plot: Path | None) -> None:
    """Print the table; then draw the plot and print the JSON object as the last line, if asked for.

    Raises:
        typer.Exit: there is no ratio, because ours or every peer couldn't run. The status is 1.
    """
    console, machine_facts = Console(), machine()
    console.print(_table(report))
    for name, reason in report.failures.items():
        console.print(f"{name} could not run: {reason}", markup=False, soft_wrap=True)
    for note in report.notes:
        console.print(note, markup=False, soft_wrap=True)
    if report.ratio is not None:
        console.print(f"ratio {report.ratio:.2f} ({report.ratio_of})", markup=False, soft_wrap=True)
    for name, value in report.figures.items():
        console.print(f"{name.replace('_', ' ')} {value:.4g}" if value is not None else name, markup=False)
    console.print(
        "; ".join(
            [
                *(f"{name} {version}" for name, version in report.versions.items()),
                *(f"{name} {value}" for name, value in machine_facts.items()),
            ]
        ),
        style="dim",
        markup=False,
        soft_wrap=True,
    )
    if plot:
        from .plot import draw

        draw(report, plot)
    if as_json:
        fields = asdict(report)
        print(json.dumps(fields | fields.pop("figures") | {"machine": machine_facts}))
    if report.ratio is None:
        raise typer.Exit(1)
