"""Make short videos that all differ, of shapes that move over coloured ground."""

from pathlib import Path

import av
import numpy as np

SIDE = 224
RATE = 10
OPTIONS = {"preset": "ultrafast", "crf": "23"}


def make_clips(folder: Path, count: int, seconds: int) -> Path:
    """Write `count` H.264 videos, those that are missing, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number // 50}" / f"clip-{number:04}.mp4"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            _write_clip(path, number, seconds)
    return folder


def _write_clip(path: Path, seed: int, seconds: int) -> None:
    random = np.random.default_rng(seed)
    ground, shape = random.integers(0, 256, (2, 3), dtype=np.uint8)
    start, speed = random.integers(0, SIDE // 2, 2), random.integers(2, 9, 2)
    size = int(random.integers(30, 90))
    new = path.with_suffix(".new.mp4")
    with av.open(new, "w") as file:
        stream = file.add_stream("libx264", rate=RATE, options=OPTIONS)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(seconds * RATE):
            pixels = np.empty((SIDE, SIDE, 3), np.uint8)
            pixels[:] = ground
            y, x = (start + number * speed) % (SIDE - size)
            pixels[y : y + size, x : x + size] = shape
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))
    new.replace(path)
