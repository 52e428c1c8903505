"""Run a command and print its report, its JSON object, or one line that says why it failed."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from unicodedata import category

import typer
from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


class CommandError(Exception):
    """The command can't do its work; the message says why and what to change."""


def as_text(text: str) -> str:
    """Return the text without control characters, which a server may have sent and a terminal would obey."""
    return "".join(
        char if char in "\n\t" or category(char) not in ("Cc", "Cs") else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def warn(problem: str) -> None:
    """Print on standard error that a record is skipped; `problem` names the record and says why."""
    Console(stderr=True).print(as_text(f"skipped {problem}"), soft_wrap=True, markup=False)


def run_command(
    report: Callable[[], Mapping[str, Any]], show: Callable[[Any, Console], None], as_json: bool
) -> None:
    """Make a report and show it; with `as_json`, also print it as one JSON object in the last line.

    If `report` raises CommandError, print its message as one line on standard error and raise typer.Exit with
    status 1.
    """
    try:
        figures = report()
    except CommandError as error:
        Console(stderr=True).print(as_text(f"error: {error}"), soft_wrap=True, markup=False)
        raise typer.Exit(1) from None
    show(figures, Console())
    if as_json:
        print(json.dumps(figures))
