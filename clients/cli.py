"""The console command `internvl3`, which imports a sub-command only when it is called.

Sub-commands are named by strings, "module:object". The object is a typer app, or a function that typer can
make a command of. So `internvl3 --help` needs neither torch nor vllm, and this package imports none of the
others.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True)
class SubCommand:
    """The "module:object" of a sub-command, and its line in `internvl3 --help`."""

    target: str
    help: str


SUB_COMMANDS = {
    "serve": SubCommand(
        "server.__main__:serve", "Start the server, by default with the embedded nano model."
    ),
    "ask": SubCommand("clients.commands.ask:ask", "Ask a running server a question about images and videos."),
    "batch": SubCommand("clients.commands.batch:app", "Ask questions about many videos, hours long."),
    "eval": SubCommand("ttscaling.evaluation.cli:app", "Measure how good a running server's answers are."),
    "tune-delta": SubCommand(
        "ttscaling.evaluation.tune_delta.command:tune_delta", "Find the V2PE delta with the best answers."
    ),
    "train": SubCommand("ttscaling.train.cli:app", "Train policies and critics."),
    "bench": SubCommand(
        "bench.cli:app", "Compare this server and its parts with other systems (from a checkout only)."
    ),
}

HELP = """Serve InternVL3 behind OpenAI's API, with V2PE and Best-of-N by a process reward critic.

Try it on the embedded nano model, in two shells:

    internvl3 serve

    internvl3 ask "What is the sum of row 2?" --image sheet.png --best-of 8
"""


class LazyGroup(TyperGroup):
    """The group of all sub-commands: it lists them by stand-ins and loads the one that is called."""

    def __init__(self) -> None:
        stand_ins = [TyperCommand(name, help=sub_command.help) for name, sub_command in SUB_COMMANDS.items()]
        super().__init__(name="internvl3", help=HELP, commands=stand_ins, no_args_is_help=True)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, remaining = super().resolve_command(ctx, args)
        return name, name and load(SUB_COMMANDS[name].target), remaining


def load(target: str) -> Any:
    """Return the command behind "module:object".

    If a package is missing, the process exits with one line on standard error.
    """
    module, _, name = target.partition(":")
    if module.startswith("bench."):
        find_bench(Path(__file__).parent.parent)
    try:
        loaded = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        sys.exit(f"error: this command needs the Python package {error.name}; make setup installs it")
    if not isinstance(loaded, typer.Typer):
        function, loaded = loaded, typer.Typer(add_completion=False)
        loaded.command()(function)
    return get_command(loaded)


def find_bench(root: Path) -> None:
    """Make the package `bench` importable from the checkout at `root`. The wheel doesn't hold it."""
    if not (root / "bench" / "cli.py").exists():
        sys.exit("error: `internvl3 bench` runs from a checkout only; clone the repository and call it there")
    sys.path.insert(0, str(root))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console command `internvl3`; it always ends with SystemExit."""
    LazyGroup().main(arguments, prog_name="internvl3")
