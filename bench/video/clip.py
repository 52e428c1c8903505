"""Make the video of `internvl3 bench video` once and keep it in runs/bench."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
from av.video.frame import PictureType
from rich.console import Console

from bench.harness.contest import ROOT
from bench.harness.output import progress

FOLDER = ROOT / "runs" / "bench"
SIZE, RATE = (1280, 720), 30
# Cameras and video sites write such files: frames refer to later ones, and every 250th is a keyframe.
X264 = {"preset": "veryfast", "g": "250", "bf": "3", "b-pyramid": "normal", "b": "2500k"}


def make_clip(minutes: float, console: Console) -> Path:
    """Return an MP4 of FFmpeg's moving test picture; make it if it is missing.

    It is H.264 of 1280 x 720 pixels and 30 frames per second. A bar on `console` shows the progress.
    """
    path = FOLDER / f"test-{minutes:g}-minutes.mp4"
    if path.exists():
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    frames = max(1, round(minutes * 60 * RATE))
    with progress(console) as bar, av.open(unfinished, "w", format="mp4") as file:
        task = bar.add_task(f"making {path.name}", total=frames)
        stream = file.add_stream("libx264", rate=RATE, options=X264)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        source = _test_picture()
        for number in range(frames):
            frame = source.pull()
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            # The filter calls each frame a keyframe, and x264 would write it as one.
            frame.pict_type = PictureType.NONE
            file.mux(stream.encode(frame))
            bar.advance(task)
        file.mux(stream.encode(None))
    os.replace(unfinished, path)
    return path


def _test_picture() -> Any:
    graph = av.filter.Graph()
    picture = graph.add("testsrc2", f"size={SIZE[0]}x{SIZE[1]}:rate={RATE}")
    format_ = graph.add("format", "pix_fmts=yuv420p")
    sink = graph.add("buffersink")
    picture.link_to(format_)
    format_.link_to(sink)
    graph.configure()
    return graph
