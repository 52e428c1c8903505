"""Draw the accuracy of each method over N."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttscaling.evaluation.question_sets import short_name
from ttscaling.reports.plots import drawing

from .tables import SHOWN

BANDED = (
    "best_of_n/mean",
    "self_consistency",
)  # Only these have their intervals drawn, because all would hide each other.
STYLES = {"oracle": "--", "random": ":"}


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the plot to `path`, whose suffix selects the format. Raises CommandError if that fails."""
    with drawing(path, 8, 5) as axes:
        for name, label in SHOWN.items():
            entries = report["curves"].get(name, [])
            sizes = [entry["n"] for entry in entries]
            style = "o" if name == "beam_search" else f"{STYLES.get(name, '-')}"
            (line,) = axes.plot(sizes, [100 * entry["accuracy"] for entry in entries], style, label=label)
            if name in BANDED:
                low, high = ([100 * entry[edge] for entry in entries] for edge in ("low", "high"))
                axes.fill_between(sizes, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set_xscale("log", base=2)
        sizes = [entry["n"] for entry in report["curves"]["random"]]
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xlabel("N candidates")
        axes.set_ylabel("right answers, %")
        axes.set_title(f"{report['n_questions']} questions, {short_name(report['questions'])}")
        axes.legend(frameon=False)
