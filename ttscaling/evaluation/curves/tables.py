"""Show curves as tables in the terminal and as Markdown tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.evaluation.pools import AGGREGATIONS
from ttscaling.reports.markdown import interval, table

SHOWN = {
    "random": "random",
    "self_consistency": "self-consistency",
    "weighted_vote/min": "weighted vote",
    "weighted_vote/product": "weighted vote, product",
    "best_of_n/mean": "critic",
    "beam_search": "beam search",
    "oracle": "oracle",
}
TOKENS = {"candidates": "N candidates", "beam_search": "beam search"}
Report = Mapping[str, Any]
Cell = Callable[[Mapping[str, float], str], str]


def print_curves(report: Report, console: Console) -> None:
    """Print the tables without intervals, which are in the JSON object and on the page."""
    console.print(caption(report), soft_wrap=True)
    for title, (header, rows) in tables(report, value_only).items():
        view = Table(title=title)
        for name in header:
            view.add_column(name, justify="left" if name == "N" else "right", overflow="fold")
        for row in rows:
            view.add_row(*row)
        console.print(view)
    console.print("* The 95 % interval of the difference doesn't contain 0.")


def curve_lines(report: Report, plot: str | None) -> list[str]:
    """Return the tables as lines of Markdown, below the plot if its address is given."""
    lines = [caption(report), ""]
    if plot:
        lines += [f"![Accuracy over the number of candidates]({plot})", ""]
    for title, (header, rows) in tables(report, with_interval).items():
        lines += [f"**{title}**", "", *table(header, rows), ""]
    return lines[:-1]


def caption(report: Report) -> str:
    """Return sentences that say what was measured."""
    (sample,) = report["curves"]["one_sample"]
    first = "candidate 0 is greedy" if report["include_greedy"] else "all are sampled"
    most = report["max_n"]
    return (
        f"{report['n_questions']} questions ({report['questions']}) have {most} candidates each ({first}), "
        f"which {report['critic']} scored. The figures are means over {report['draws']} draws of N "
        f"candidates, in %, with 95 % intervals over questions. For N = {most} there is only one draw, which "
        "holds all candidates. One sampled candidate alone has an accuracy of "
        f"{interval(sample, 'accuracy')}."
    )


def tables(report: Report, cell: Cell) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return the header and the rows of each table by its title; `cell` writes a figure as text."""
    sizes = [entry["n"] for entry in report["curves"]["random"]]

    def columns(kind: str, names: Sequence[str], figure: str, sizes: Sequence[int]) -> list[list[str]]:
        """Return a row for each N with a cell for each curve, empty where the curve has no such N."""
        curves = [{entry["n"]: entry for entry in report[kind][name]} for name in names]
        return [[cell(by_n[n], figure) if n in by_n else "" for by_n in curves] for n in sizes]

    def numbered(rows: Sequence[Sequence[str]], sizes: Sequence[int]) -> list[list[str]]:
        return [[str(n), *row] for n, row in zip(sizes, rows, strict=True)]

    methods = [name for name in SHOWN if name in report["curves"]]
    tokens, differences = list(report["tokens"]), list(report["differences"])
    accuracy = columns("curves", methods, "accuracy", sizes)
    usage = columns("tokens", tokens, "tokens", sizes)
    titles = {name: " - ".join(SHOWN[side] for side in name.split(" - ")) for name in differences}
    by_title = {
        "Accuracy": (["N", *(SHOWN[name] for name in methods)], numbered(accuracy, sizes)),
        "Tokens generated for a question": (
            ["N", *(TOKENS[name] for name in tokens)],
            numbered(usage, sizes),
        ),
    }
    for method, title in (("best_of_n", "Critic Best-of-N"), ("weighted_vote", "Weighted vote")):
        curves = columns("curves", [f"{method}/{how}" for how in AGGREGATIONS], "accuracy", sizes[1:])
        by_title[f"{title}, by aggregation of step scores"] = (
            ["N", *AGGREGATIONS],
            numbered(curves, sizes[1:]),
        )
    points = columns("differences", differences, "difference", sizes[1:])
    by_title["Paired differences, in points"] = (["N", *titles.values()], numbered(points, sizes[1:]))
    return by_title


def with_interval(entry: Mapping[str, float], figure: str) -> str:
    """Return a figure with its interval, as the page shows it."""
    if figure == "tokens":
        return f"{entry[figure]:.0f}"
    return interval(entry, figure, sign="+" if figure == "difference" else "")


def value_only(entry: Mapping[str, float], figure: str) -> str:
    """Return a figure without its interval; a difference whose interval doesn't contain 0 gets a star."""
    shown = with_interval(entry, figure).partition(" ")[0]
    return f"{shown}*" if figure == "difference" and entry["low"] * entry["high"] > 0 else shown
