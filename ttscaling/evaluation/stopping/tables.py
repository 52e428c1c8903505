"""Show the report of `internvl3 eval stopping` as a table in the terminal and as Markdown."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ttscaling.reports.markdown import interval, table


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print the report as a table."""
    header, rows = cells(report)
    view = Table(*header)
    for row in rows:
        view.add_row(*row)
    for column in view.columns[1:]:
        column.justify = "right"
    console.print(caption(report), soft_wrap=True)
    console.print(view)


def page_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report as lines of Markdown."""
    return [caption(report), "", *table(*cells(report))]


def caption(report: Mapping[str, Any]) -> str:
    """Return sentences that say what was measured."""
    rule = ", ".join(f"{name} {value:g}" for name, value in report["rule"].items()) or "none"
    stopped = {reason: count for reason, count in report["stopped"].items() if reason != "not"}
    reasons = "".join(f", {count} by {reason}" for reason, count in stopped.items())
    return (
        f"Best-of-{report['n']} on {report['n_questions']} questions ({report['questions']}), with "
        f"{report['concurrency']} requests at a time. The stop rule is {rule}{_origin(report['chosen_on'])} "
        f"It stopped {sum(stopped.values())} questions{reasons}. Accuracy is in %, its difference in points, "
        "with 95 % intervals."
    )


def _origin(others: Mapping[str, Any]) -> str:
    """Return the end of the sentence about the rule, which says where it is from."""
    if not others:
        return "."
    origin = f", chosen on {others['n_questions']} other questions ({others['questions']})."
    if others["surely"]:
        return origin
    return f"{origin} No rule surely lost less than a point there, and this one came nearest to that."


def cells(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table."""
    rows = [
        [
            title,
            interval(report[name]["accuracy"], "accuracy"),
            interval(report[name]["tokens"], "tokens", scale=1),
            interval(report[name]["seconds"], "seconds", scale=1, digits=2),
        ]
        for name, title in (("full", "all candidates"), ("adaptive", "adaptive"))
    ]
    difference = [
        interval(report["difference"], "difference", sign="+"),
        _less(report["saved"]),
        _less(report["saved_seconds"]),
    ]
    return ["", "accuracy", "tokens a question", "seconds a question"], [*rows, ["difference", *difference]]


def _less(saved: Mapping[str, float]) -> str:
    """Return a share that was saved as a change in %."""
    change = {"share": -saved["share"], "low": -saved["high"], "high": -saved["low"]}
    return f"{interval(change, 'share', sign='+')} %"
