"""Curves as tables: in a terminal, and as Markdown for a page."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from .page import table
from .pools import AGGREGATIONS

SHOWN = {
    "random": "random",
    "self_consistency": "self-consistency",
    "weighted_vote/mean": "weighted vote",
    "best_of_n/mean": "critic",
    "beam_search": "beam search",
    "oracle": "oracle",
}
Report = Mapping[str, Any]


def print_curves(report: Report, console: Console) -> None:
    """The tables for a person."""
    console.print(told(report), soft_wrap=True)
    for title, (header, rows) in tables(report).items():
        shown = Table(*header, title=title)
        for row in rows:
            shown.add_row(*row)
        for column in shown.columns[1:]:
            column.justify = "right"
        console.print(shown)


def curve_lines(report: Report, plot: str | None) -> list[str]:
    """The same as lines of Markdown, with the plot in front where there is one."""
    lines = [told(report), ""]
    if plot:
        lines += [f"![Accuracy over the number of candidates]({plot})", ""]
    for title, (header, rows) in tables(report).items():
        lines += [f"**{title}**", "", *table(header, rows), ""]
    return lines[:-1]


def told(report: Report) -> str:
    """What the figures stand on."""
    (sample,) = report["curves"]["one_sample"]
    first = "candidate 0 greedy" if report["include_greedy"] else "all sampled"
    return (
        f"{report['n_questions']} questions ({report['questions']}), {report['max_n']} candidates each "
        f"({first}), critic {report['critic']}; means over {report['draws']} draws of N, in % with 95 % "
        f"intervals over questions. One sampled candidate alone: {_percent(sample, 'accuracy')}."
    )


def tables(report: Report) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Header and rows by title: the methods, the aggregations, the paired differences."""
    curves = {name: {entry["n"]: entry for entry in curve} for name, curve in report["curves"].items()}
    tokens = {name: {entry["n"]: entry for entry in curve} for name, curve in report["tokens"].items()}
    sizes = list(curves["random"])
    methods = {name: shown for name, shown in SHOWN.items() if name in curves}
    header = ["N", *methods.values(), "tokens of N candidates"]
    if "beam_search" in tokens:
        header.append("of beam search")

    def row(n: int) -> list[str]:
        spent = [f"{tokens[name][n]['tokens']:.0f}" if n in tokens[name] else "" for name in tokens]
        return [str(n), *(_percent(curves[name].get(n), "accuracy") for name in methods), *spent]

    by_aggregation = [
        [str(n), *(_percent(curves[f"best_of_n/{how}"][n], "accuracy") for how in AGGREGATIONS)]
        for n in sizes[1:]
    ]
    differences = {
        name: {entry["n"]: entry for entry in curve} for name, curve in report["differences"].items()
    }
    apart = [
        [str(n), *(_percent(entries.get(n), "difference") for entries in differences.values())]
        for n in sizes[1:]
    ]
    named = [" - ".join(SHOWN[side] for side in name.split(" - ")) for name in differences]
    return {
        "Accuracy": (header, [row(n) for n in sizes]),
        "Critic Best-of-N by aggregation of step scores": (["N", *AGGREGATIONS], by_aggregation),
        "Paired differences, in points": (["N", *named], apart),
    }


def _percent(entry: Mapping[str, float] | None, figure: str) -> str:
    if entry is None:
        return ""
    sign = "+" if figure == "difference" else ""
    low, high = (f"{100 * entry[edge]:{sign}.1f}" for edge in ("low", "high"))
    return f"{100 * entry[figure]:{sign}.1f} ({low} to {high})"
