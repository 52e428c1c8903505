"""TODO: what this file is about."""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


class CommandError(Exception):
    """It could not be measured; the message says what to do."""


def warn(problem: str) -> None:
    """Tells of a record that can't be used."""
    Console(stderr=True).print(f"skipped {problem}", soft_wrap=True, markup=False)


def run_command(
    report: Callable[[], Mapping[str, Any]], show: Callable[[Any, Console], None], as_json: bool
) -> None:
    """A command's whole course: measured, shown, and as the last line printed as JSON where asked for.

    Raises typer.Exit with status 1, one line on standard error before it, where it could not be measured.
    """
    try:
        measured = report()
    except CommandError as error:
        Console(stderr=True).print(f"error: {error}", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None
    show(measured, Console())
    if as_json:
        print(json.dumps(measured))
