"""What a bench found: a table for people, one JSON object for programs, a plot when asked."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .contest import Sample

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
PlotOption = Annotated[
    Path | None, typer.Option(help="Draw the figures into this file (.png, .svg or .pdf).", metavar="FILE")
]


@dataclass(frozen=True, kw_only=True)
class Report:
    """One bench's result.

    `ratio`: ours over the best peer, above 1 is better; `ratio_of` says which case and figure it is. `rows`:
    every system's figures, each row with "system" and "case". `failures`: systems that couldn't run, with the
    reason. `column`: the figure in `rows` that `ratio` compares. `figures`: more of the whole bench,
    keys of the JSON object like `ratio`.
    """

    bench: str
    ratio: float | None
    ratio_of: str
    column: str
    rows: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    failures: Mapping[str, str]
    notes: Sequence[str] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict)


def ratio(
    samples: Sequence[Sample], case: str, *, ours: str, peers: Sequence[str], figure: str = "cpu_seconds"
) -> float | None:
    """How many times our `figure` (less is better) the best peer needs on a case; None if a side is missing.

    The best peer is the one with the least median. Ours and its samples are compared repeat by repeat, since
    those were taken next to each other, and the median of that is the ratio.
    """
    by_system: dict[str, dict[int, float]] = {}
    for sample in samples:
        if sample.case == case:
            by_system.setdefault(sample.system, {})[sample.repeat] = getattr(sample, figure)
    own = by_system.get(ours)
    theirs = [by_system[peer] for peer in peers if peer in by_system]
    if not own or not theirs:
        return None
    best = min(theirs, key=lambda figures: median(figures.values()))
    return median(best[repeat] / own[repeat] for repeat in own)


def versions(distributions: Sequence[str], path: Sequence[Path] = ()) -> dict[str, str]:
    """Versions of the distributions that are installed, here or in the folders of `path`."""
    found = {"python": platform.python_version()}
    for name in distributions:
        places = metadata.distributions(name=name, path=[*map(str, path), *sys.path])
        for distribution in list(places)[:1]:
            found[name] = distribution.version
    return found


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was with other things."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 1),
    }


def progress(console: Console) -> Progress:
    """The bar of a bench; its steps are the turns of `measure`."""
    return Progress(
        *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )


def finish(report: Report, *, as_json: bool, plot: Path | None) -> None:
    """Prints the table; then the plot and, as the last line, the JSON object, where asked for.

    Raises:
        typer.Exit: status 1, if there is no ratio: we, or every peer, couldn't run.
    """
    console, where = Console(), machine()
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
                *(f"{name} {value}" for name, value in where.items()),
            ]
        ),
        style="dim",
        markup=False,
        soft_wrap=True,
    )
    if plot:
        from .plot import draw  # it knows this module's Report

        draw(report, plot)
    if as_json:
        found = asdict(report)
        print(json.dumps(found | found.pop("figures") | {"machine": where}))
    if report.ratio is None:
        raise typer.Exit(1)


def _table(report: Report) -> Table:
    columns = list(dict.fromkeys(name for row in report.rows for name in row))
    table = Table(title=f"bench {report.bench}")
    for name in columns:
        numeric = any(isinstance(row.get(name), int | float) for row in report.rows)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in report.rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    return table


def _cell(value: Any) -> Text:
    if value is None:
        return Text()
    return Text(f"{value:.4g}" if isinstance(value, float) else str(value))
