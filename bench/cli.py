"""`internvl3 bench NAME`: this system beside others, in one run on one machine."""

import typer

from .critic import critic
from .long_video import long_video
from .preprocess import preprocess
from .training import training
from .tts import tts
from .video import video

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.callback()
def _group() -> None:
    """Keeps the benches sub-commands, however many there are."""


app.command()(critic)
app.command()(long_video)
app.command()(preprocess)
app.command()(training)
app.command()(tts)
app.command()(video)
