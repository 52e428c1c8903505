"""`internvl3 eval`: what a running server's answers and scores are worth."""

import typer

from ttscaling.evaluation.critic.command import critic
from ttscaling.evaluation.curves.command import curves
from ttscaling.evaluation.nano.command import nano
from ttscaling.evaluation.stopping.command import stopping

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Measure what a running server's answers are worth."
)


@app.callback()
def _group() -> None:
    """Measure what a running server's answers are worth."""


app.command()(critic)
app.command()(curves)
app.command()(nano)
app.command()(stopping)
