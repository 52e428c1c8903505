"""The command line of `internvl3 train`, with one command for each way to train or measure."""

import typer

from ttscaling.train.commands.checks import check, memory
from ttscaling.train.commands.critic import critic
from ttscaling.train.commands.fetch import fetch
from ttscaling.train.commands.mixture import ratio
from ttscaling.train.commands.nano import nano, nano_critics, nano_mpo, nano_ratio, nano_v2pe
from ttscaling.train.commands.nano_data import nano_data
from ttscaling.train.commands.rollouts import rollouts
from ttscaling.train.commands.training import command_of, mpo, pretrain, sft

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train policies and critics.")


@app.callback()
def _group() -> None:
    """Train policies and critics."""


app.command()(nano)
app.command("nano-critics")(nano_critics)
app.command()(fetch)
app.command()(check)
app.command()(memory)
app.command()(rollouts)
app.command("pretrain")(command_of("pretrain", pretrain))
app.command("sft")(command_of("sft", sft))
app.command("critic")(command_of("critic", critic))
app.command("mpo")(command_of("mpo", mpo))
app.command()(ratio)
app.command("nano-data")(nano_data)
app.command("nano-ratio")(nano_ratio)
app.command("nano-mpo")(nano_mpo)
app.command("nano-v2pe")(nano_v2pe)
