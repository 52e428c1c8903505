"""Draw the accuracy over the V2PE delta."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from ttscaling.evaluation.question_sets import short_name
from ttscaling.reports.plots import drawing


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the plot to `path`, whose suffix selects the format. Raises CommandError if that fails."""
    rows = report["deltas"]
    deltas = [row["v2pe_delta"] for row in rows]
    shares = [100 * row["accuracy"] for row in rows]
    below = [100 * (row["accuracy"] - row["low"]) for row in rows]
    above = [100 * (row["high"] - row["accuracy"]) for row in rows]
    with drawing(path, 7, 4) as axes:
        axes.errorbar(deltas, shares, yerr=[below, above], marker="o", capsize=3)
        axes.axvline(report["best"], linestyle=":", color="grey")
        axes.set_xscale("log", base=2)
        axes.set_xticks(deltas, [str(Fraction(delta).limit_denominator(4096)) for delta in deltas])
        axes.set_xlabel("V2PE delta")
        axes.set_ylabel("right answers, %")
        axes.set_title(f"{report['n']} questions, {short_name(report['questions'])}")
