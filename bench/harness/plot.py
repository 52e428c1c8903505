"""Draw a report as bars, with a group for each case and a bar for each system."""

from pathlib import Path

from ttscaling.reports.plots import drawing

from .report import Report


def draw(report: Report, path: Path) -> None:
    """Draw the report's `column` of every row into the file `path`."""
    values = {(row["system"], row["case"]): row[report.column] for row in report.rows}
    systems = list(dict.fromkeys(system for system, _ in values))
    cases = list(dict.fromkeys(case for _, case in values))
    width = 0.8 / len(systems)
    with drawing(path, 2 + 2 * len(cases), 4) as axes:
        for index, system in enumerate(systems):
            centres = [group + (index - (len(systems) - 1) / 2) * width for group in range(len(cases))]
            bars = axes.bar(centres, [values.get((system, case), 0) for case in cases], width, label=system)
            axes.bar_label(bars, fmt="%.3g", fontsize=8)
        axes.set_xticks(range(len(cases)), cases)
        axes.set_ylabel(report.column.replace("_", " "))
        axes.set_title(f"bench {report.bench}")
        axes.legend(frameon=False)
