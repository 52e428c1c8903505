"""How `internvl3 batch` ends: exports, the report, the line that resumes, and shards that become one job."""

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from clients.video_jobs.ledger.identity import OtherJob
from clients.video_jobs.outputs.exports import EXPORTS, ExportError
from clients.video_jobs.outputs.merging import merge_shards
from clients.video_jobs.outputs.report import write_report
from clients.video_jobs.run.options import Ending, Exit

Export = Annotated[
    list[str] | None,
    typer.Option(help=f"Write the events as {', '.join(EXPORTS)}; may be given several times."),
]
Report = Annotated[bool, typer.Option("--report", help="Write report.html.")]


def merge(
    out: Annotated[Path, typer.Argument(help="The folder that the shards have as --out.")],
    export: Export = None,
    report: Report = False,
) -> None:
    """Put the results of all shards together. It may be called again at any time.

    Exit codes: 0 if all items have answers, 1 if some failed or a shard is not at its end, 2 if the folder
    holds no shards of one job.
    """
    console = Console(stderr=True)
    try:
        check_exports(export or ())
        merged = merge_shards(out)
    except (OtherJob, ExportError, OSError) as error:
        end(console, Ending(Exit.USAGE, str(error)))
    for name in merged.missing:
        say(console, f"{name} is missing")
    for name in merged.unfinished:
        say(console, f"{name} is not at its end; run it again, and then this command")
    write_outputs(console, out, export or (), report)
    is_whole = not (merged.errors or merged.missing or merged.unfinished)
    code = Exit.ALL_GOOD if is_whole else Exit.SOME_FAILED
    end(console, Ending(code, None, merged.results, merged.errors), out)


def check_exports(names: Iterable[str]) -> None:
    """Raise ExportError for an export that doesn't exist."""
    for name in names:
        if name not in EXPORTS:
            raise ExportError(f"there is no export {name}; choose from {', '.join(EXPORTS)}")


def write_outputs(console: Console, folder: Path, exports: Sequence[str], report: bool) -> None:
    """Write the exports and the report of a job; what can't be written is one line each."""
    for name in exports:
        try:
            EXPORTS[name](folder)
        except (ExportError, OSError) as error:
            say(console, f"error: {error}")
    if report:
        try:
            say(console, f"the report is {write_report(folder)}")
        except (OtherJob, OSError) as error:
            say(console, f"error: {error}")


def end(console: Console, ending: Ending, folder: Path | None = None) -> NoReturn:
    """Say how a run ended, and on standard output as JSON; then exit with its code."""
    if ending.message:
        say(console, f"error: {ending.message}")
    if ending.code in (Exit.INTERRUPTED, Exit.STOPPED_EARLY):
        say(console, f"go on with: {resume_command(sys.argv[1:])}")
    summary = {name: value for name, value in asdict(ending).items() if name not in ("code", "message")}
    print(json.dumps({"exit": int(ending.code), **summary, "out": None if folder is None else str(folder)}))
    raise typer.Exit(int(ending.code))


def resume_command(arguments: Sequence[str]) -> str:
    """Return the command that goes on, without the key, which may stand in INTERNVL3_API_KEY."""
    shown: list[str] = []
    for number, word in enumerate(arguments):
        if number and arguments[number - 1] == "--api-key":
            shown.append("KEY")
        else:
            shown.append("--api-key=KEY" if word.startswith("--api-key=") else word)
    return "internvl3 " + shlex.join(shown)


def say(console: Console, line: str) -> None:
    """Print a line as text that a terminal doesn't obey."""
    console.print(Text("".join(char if char.isprintable() else "?" for char in line)), soft_wrap=True)
