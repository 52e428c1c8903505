"""Measure a part of this system beside other systems, in one run on one machine."""

import typer

from bench.batch.command import batch
from bench.critic.command import critic
from bench.gpu.command import gpu
from bench.preprocess.command import preprocess
from bench.serving.command import serving
from bench.serving.drain import drain
from bench.serving.kills import kills
from bench.serving.overload import overload
from bench.training.command import training
from bench.tts.command import tts
from bench.video.command import video
from bench.video.long_video import long_video
from bench.video_answers.command import video_answers

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.callback()
def _group() -> None:
    """Keep each benchmark a sub-command, even if only one is left."""


app.command()(batch)
app.command()(critic)
app.command()(drain)
app.command()(gpu)
app.command()(kills)
app.command()(long_video)
app.command()(overload)
app.command()(preprocess)
app.command()(serving)
app.command()(training)
app.command()(tts)
app.command()(video)
app.command()(video_answers)
