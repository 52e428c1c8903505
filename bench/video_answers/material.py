"""Make the videos of `internvl3 bench video-answers` once, and keep them with what they show.

There are three of one length: `events` shows drawn digits for 2 to 5 seconds each, `empty` is its twin
without them, and `varied` shows the same as `events` with a frame rate that varies.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from rich.console import Console

from bench.harness.contest import ROOT
from bench.harness.output import progress
from ttscaling.nano_tasks.digit_videos import DigitVideo, digit_video, picture_at, random_events
from ttscaling.nano_tasks.digits import digit_pool

FOLDER = ROOT / "runs" / "bench" / "video-answers"
SIZE, RATE = (1280, 720), 10
X264 = {"preset": "veryfast", "crf": "23", "g": "100"}
NAMES = ("events", "empty", "varied")
TRUTH = "truth.json"
TICKS = 1000  # of a second
SEED = 16


def make_material(minutes: float, count: int, console: Console, *, edges_every: float = 39.0) -> Path:
    """Return the folder of the videos and of `truth.json`, which lists the events; make what is missing.

    There are up to `count` events. A fifth of them lie across multiples of `edges_every` seconds, where
    segments end.
    """
    folder = FOLDER / f"{minutes:g}-minutes-{count}-events-{edges_every:g}"
    folder.mkdir(parents=True, exist_ok=True)
    seconds = round(minutes * 60)
    rng = np.random.default_rng(SEED)
    edges = np.arange(edges_every, seconds - edges_every, edges_every)
    events = random_events(rng, seconds, count, edges.tolist())
    video = digit_video(rng, digit_pool("heldout"), seconds, events)
    for name in NAMES:
        if not (path := folder / f"{name}.mp4").exists():
            _write(path, video, name, console)
    (folder / TRUTH).write_text(json.dumps([asdict(event) for event in events], indent=1))
    return folder


def frame_times(name: str, seconds: float) -> Iterator[float]:
    """Yield when the frames of a video are shown: at RATE, or for `varied` in bursts and pauses."""
    if name != "varied":
        yield from (number / RATE for number in range(round(seconds * RATE)))
        return
    rng, time = np.random.default_rng(SEED + 1), 0.0
    while time < seconds:
        yield time
        time = round(time + float(rng.choice([0.04, 0.1, 0.3, 0.7], p=[0.4, 0.4, 0.15, 0.05])), 3)


def _write(path: Path, video: DigitVideo, name: str, console: Console) -> None:
    unfinished = path.with_suffix(".part")
    with progress(console) as bar, av.open(unfinished, "w", format="mp4") as file:
        task = bar.add_task(f"making {path.name}", total=round(video.seconds))
        stream = file.add_stream("libx264", rate=RATE, options=X264)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for time in frame_times(name, video.seconds):
            picture = picture_at(video, time, with_events=name != "empty")
            frame = av.VideoFrame.from_image(picture).reformat(*SIZE, "yuv420p", interpolation="BICUBIC")
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            file.mux(stream.encode(frame))
            bar.update(task, completed=time)
        file.mux(stream.encode(None))
    os.replace(unfinished, path)
