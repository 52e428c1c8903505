"""`internvl3 eval`: what a running server's answers and scores are worth."""

import typer

from .critic import critic
from .curves import curves
from .nano import nano
from .stopping import stopping

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
