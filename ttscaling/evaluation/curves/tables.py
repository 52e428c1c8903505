"""Curves as tables: in a terminal, and as Markdown for a page."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.evaluation.pools import AGGREGATIONS
from ttscaling.reports.markdown import interval, table

SHOWN = {
    "random": "random",
    "self_consistency": "self-consistency",
    "weighted_vote/mean": "weighted vote",
    "weighted_vote/min": "weighted vote, min",
    "best_of_n/mean": "critic",
    "beam_search": "beam search",
    "oracle": "oracle",
}
TOKENS = {"candidates": "N candidates", "beam_search": "beam search"}
Report = Mapping[str, Any]
Cell = Callable[[Mapping[str, float], str], str]


def print_curves(report: Report, console: Console) -> None:
    """The tables for a person; intervals are in the JSON object and on the page."""
    console.print(caption(report), soft_wrap=True)
    for title, (header, rows) in tables(report, value_only).items():
        shown = Table(title=title)
        for name in header:
            shown.add_column(name, justify="left" if name == "N" else "right", overflow="fold")
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
    console.print("* the 95 % interval of the difference doesn't hold 0")


def curve_lines(report: Report, plot: str | None) -> list[str]:
    """The same as lines of Markdown, with the plot in front where there is one."""
    lines = [caption(report), ""]
    if plot:
        lines += [f"![Accuracy over the number of candidates]({plot})", ""]
    for title, (header, rows) in tables(report, with_interval).items():
        lines += [f"**{title}**", "", *table(header, rows), ""]
    return lines[:-1]


def caption(report: Report) -> str:
    """What the figures stand on."""
    (sample,) = report["curves"]["one_sample"]
    first = "candidate 0 greedy" if report["include_greedy"] else "all sampled"
    return (
        f"{report['n_questions']} questions ({report['questions']}), {report['max_n']} candidates each "
        f"({first}), critic {report['critic']}; means over {report['draws']} draws of N, in % with 95 % "
        f"intervals over questions. One sampled candidate alone: {interval(sample, 'accuracy')}."
    )


def tables(report: Report, cell: Cell) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Header and rows by title: the methods, the aggregations, the paired differences."""
    sizes = [entry["n"] for entry in report["curves"]["random"]]

    def columns(kind: str, names: Sequence[str], figure: str, sizes: Sequence[int]) -> list[list[str]]:
        """A row per N, a cell per curve, empty where the curve has no such N."""
        found = [{entry["n"]: entry for entry in report[kind][name]} for name in names]
        return [[cell(by_n[n], figure) if n in by_n else "" for by_n in found] for n in sizes]

    def numbered(rows: Sequence[Sequence[str]], sizes: Sequence[int]) -> list[list[str]]:
        return [[str(n), *row] for n, row in zip(sizes, rows, strict=True)]

    methods = [name for name in SHOWN if name in report["curves"]]
    tokens, differences = list(report["tokens"]), list(report["differences"])
    accuracy = columns("curves", methods, "accuracy", sizes)
    spent = columns("tokens", tokens, "tokens", sizes)
    named = {name: " - ".join(SHOWN[side] for side in name.split(" - ")) for name in differences}
    found = {
        "Accuracy": (["N", *(SHOWN[name] for name in methods)], numbered(accuracy, sizes)),
        "Tokens generated for a question": (
            ["N", *(TOKENS[name] for name in tokens)],
            numbered(spent, sizes),
        ),
    }
    for method, title in (("best_of_n", "Critic Best-of-N"), ("weighted_vote", "Weighted vote")):
        curves = columns("curves", [f"{method}/{how}" for how in AGGREGATIONS], "accuracy", sizes[1:])
        found[f"{title}, by aggregation of step scores"] = (["N", *AGGREGATIONS], numbered(curves, sizes[1:]))
    apart = columns("differences", differences, "difference", sizes[1:])
    found["Paired differences, in points"] = (["N", *named.values()], numbered(apart, sizes[1:]))
    return found


def with_interval(entry: Mapping[str, float], figure: str) -> str:
    """A figure as the page shows it."""
    if figure == "tokens":
        return f"{entry[figure]:.0f}"
    return interval(entry, figure, sign="+" if figure == "difference" else "")


def value_only(entry: Mapping[str, float], figure: str) -> str:
    """A figure as a terminal has room for it; a difference that is surely one has a star."""
    shown = with_interval(entry, figure).partition(" ")[0]
    return f"{shown}*" if figure == "difference" and entry["low"] * entry["high"] > 0 else shown
