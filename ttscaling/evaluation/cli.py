"""The commands of `internvl3 eval`, which measure the answers and scores of a running server."""

import typer

from ttscaling.evaluation.critic.command import critic
from ttscaling.evaluation.curves.command import curves
from ttscaling.evaluation.nano.command import nano
from ttscaling.evaluation.stopping.command import stopping

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Measure how good the answers and scores of a running server are.",
)


@app.callback()
def _group() -> None:
    """Measure how good the answers and scores of a running server are."""


app.command()(critic)
app.command()(curves)
app.command()(nano)
app.command()(stopping)
