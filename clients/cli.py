"""The console command `internvl3`. A sub-command's module is imported only when it is called.

So `internvl3 --help` needs neither torch nor vllm, and this package no import of the others: they are named
by strings, "module:object", where the object is a typer app or a function that typer can make a command of.
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
    """Where a sub-command lives and its line in `internvl3 --help`."""

    target: str
    help: str


SUB_COMMANDS = {
    "serve": SubCommand(
        "server.__main__:serve", "Start the server; without options, on the embedded nano model."
    ),
    "ask": SubCommand("clients.commands.ask:ask", "Ask a running server a question, with images and videos."),
    "eval": SubCommand("ttscaling.evaluation.cli:app", "Measure what a running server's answers are worth."),
    "tune-delta": SubCommand(
        "ttscaling.evaluation.tune_delta.command:tune_delta", "Find the V2PE delta that answers best."
    ),
    "train": SubCommand("ttscaling.train.cli:app", "Train policies and critics."),
    "bench": SubCommand("bench.cli:app", "Measure this beside other systems (from a checkout)."),
}

HELP = """InternVL3 behind OpenAI's API: V2PE chosen per request, Best-of-N with a process reward critic.

Try it on the embedded nano model, in two shells:

    internvl3 serve

    internvl3 ask "What is the sum of row 2?" --image sheet.png --best-of 8
"""


class LazyGroup(TyperGroup):
    """Holds a stand-in for each sub-command, enough to list it, and loads the one that is called."""

    def __init__(self) -> None:
        stand_ins = [TyperCommand(name, help=sub_command.help) for name, sub_command in SUB_COMMANDS.items()]
        super().__init__(name="internvl3", help=HELP, commands=stand_ins, no_args_is_help=True)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and load(SUB_COMMANDS[name].target), rest


def load(target: str) -> Any:
    """The command behind "module:object". Exits with one line on standard error if a package is missing."""
    module, _, name = target.partition(":")
    if module.startswith("bench."):
        find_bench(Path(__file__).parent.parent)
    try:
        loaded = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        sys.exit(f"error: this needs the Python package {error.name}; make setup installs all of them")
    if not isinstance(loaded, typer.Typer):
        function, loaded = loaded, typer.Typer(add_completion=False)
        loaded.command()(function)
    return get_command(loaded)


def find_bench(root: Path) -> None:
    """Puts the checkout at `root` on the path: bench is beside our packages, and no part of the wheel."""
    if not (root / "bench" / "cli.py").exists():
        sys.exit("error: `internvl3 bench` runs from a checkout only; the installed package does not hold it")
    sys.path.insert(0, str(root))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `internvl3` console command; always ends by SystemExit."""
    LazyGroup().main(arguments, prog_name="internvl3")
