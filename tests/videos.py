"""Small videos whose every frame carries its number, written with PyAV.

Sixteen squares in the top row of a frame are its number in binary, black or white: what a decoder returned is
read off the pixels. Beneath them a moving pattern makes predicted frames worth predicting.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

BITS = 16
SIDE = 8
SIZE = (BITS * SIDE, BITS * SIDE)
X264 = {"preset": "veryfast", "g": "30", "bf": "3", "b-pyramid": "normal", "sc_threshold": "0"}
RATE = 30


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of frame `number`."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 2 + 5 * number, y * 3 + 2 * number, x + y + number], axis=-1) % 256
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    pixels[:SIDE, : BITS * SIDE] = np.repeat(bits, SIDE)[None, :, None]
    return pixels.astype(np.uint8)


def number_of(pixels: NDArray[np.uint8]) -> int:
    """The frame number read off decoded pixels (height, width, 3)."""
    middle = pixels[SIDE // 2, SIDE // 2 : BITS * SIDE : SIDE].mean(axis=-1)
    return sum(1 << bit for bit in range(BITS) if middle[bit] > 127)


def write_video(
    path: Path,
    frames: int = 90,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    size: tuple[int, int] = SIZE,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    container: dict[str, str] | None = None,
) -> Path:
    """`frames` frames at RATE or at `times` (seconds); returns `path`, whose suffix tells the container.

    By default H.264 with B-frames that other frames lean on, and a keyframe every 30 frames. `rotation`:
    degrees counter-clockwise by which a player is told to turn the picture.
    """
    if options is None and codec == "libx264":
        options = X264
    base = Fraction(1, 1000 if times is not None else RATE)
    with av.open(path, "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts = number if times is None else round(times[number] * 1000)
            frame.time_base = base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def trim(source: Path, path: Path, start: float) -> Path:
    """Copies `source` from `start` seconds on without decoding: an edit list hides frames of its GOP."""
    with av.open(source) as read, av.open(path, "w") as write:
        stream = read.streams.video[0]
        assert stream.time_base
        copy = write.add_stream_from_template(stream)
        offset = int(start / stream.time_base)
        read.seek(offset, stream=stream)
        for packet in read.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts -= offset
                packet.dts -= offset
                packet.stream = copy
                write.mux(packet)
    return path


def sequential(path: Path) -> list[NDArray[np.uint8]]:
    """Every shown frame as RGB, decoded from first to last as the simplest reader would."""
    with av.open(path) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def write_sound(path: Path) -> Path:
    """A second of silence and no picture."""
    with av.open(path, "w") as file:
        stream = file.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def overwrite(path: Path, source: Path, spans: Iterable[tuple[float, float]]) -> Path:
    """A copy of `source` with zeros between the given shares (0 to 1) of its length."""
    data = bytearray(source.read_bytes())
    for start, end in spans:
        first, last = int(len(data) * start), int(len(data) * end)
        data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path
