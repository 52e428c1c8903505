"""Write small videos with PyAV in which the pixels of each frame encode its number.

Sixteen black or white squares in the top row of a frame are its number in binary, so a test can read from the
pixels which frame a decoder returned. The rest of the frame is a moving pattern, so that predicted frames
differ from their references.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from model.images.tiling import TilingConfig
from model.video.frames import FrameRequest
from model.video.tiles import Backend, Video, read_video

BITS = 16
SIDE = 8
SIZE = (BITS * SIDE, BITS * SIDE)
X264 = {"preset": "veryfast", "g": "30", "bf": "3", "b-pyramid": "normal", "sc_threshold": "0"}
RATE = 30

FRAMES = 90
TILING = TilingConfig(SIZE[0], 1, 1, use_thumbnail=False)
"""A tile is as large as a frame, so that it holds the unchanged pixels of the frame."""
VARIED = np.cumsum(np.random.default_rng(7).choice([0.02, 0.033, 0.1, 0.5], FRAMES)).round(3).tolist()
VP9 = {"g": "30", "b": "300k", "deadline": "realtime", "cpu-used": "8"}
# The clips differ in the frames that a frame depends on: references among B-frames, frames that are shown
# before the keyframe that they follow, pictures that are refreshed in parts without full keyframes, and
# frames that are stored once and shown later.
CLIPS: dict[str, dict] = {
    "plain.mp4": {},
    "plain.mov": {},
    "plain.mkv": {},
    "plain.ts": {},
    "plain.flv": {},
    "fragments.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}},
    "varied.mp4": {"times": VARIED},
    "varied.mkv": {"times": VARIED},
    "open.mp4": {"options": X264 | {"x264-params": "open-gop=1:b-adapt=0"}},
    "open.ts": {"options": X264 | {"x264-params": "open-gop=1:b-adapt=0"}},
    "refresh.mp4": {"options": X264 | {"x264-params": "intra-refresh=1"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=30:log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VP9},
    "vp8.webm": {"codec": "libvpx", "options": VP9 | {"threads": "1"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"g": "30", "preset": "11"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "30", "bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "15", "bf": "2"}},
}

Clip = Callable[[str], Path]
"""A function that returns the path of the clip with a name; see the fixture `clip`."""


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Return the RGB pixels (height, width, 3) of frame `number`."""
    width, height = size
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    pixels = np.empty((height, width, 3), np.uint8)
    for channel, values in enumerate((x * 2 + 5 * number, y * 3 + 2 * number, x + 7 * number)):
        pixels[..., channel] = values % 256
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    pixels[:SIDE, : BITS * SIDE] = np.repeat(bits, SIDE)[None, :, None]
    return pixels


def number_of(pixels: NDArray[np.uint8]) -> int:
    """Return the frame number that decoded pixels (height, width, 3) encode."""
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
    """Write `frames` frames at RATE or at `times` (seconds), and return `path`.

    The suffix of `path` decides the container. The default is H.264 with a keyframe every 30 frames and
    B-frames that other frames depend on. `rotation` is stored as the degrees by which a player turns the
    picture counter-clockwise.
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
    """Copy `source` from `start` seconds on without decoding; an edit list hides the frames before."""
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
    """Return every shown frame as RGB, decoded from first to last as the simplest reader does it."""
    with av.open(path) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def write_sound(path: Path, cover: NDArray[np.uint8] | None = None) -> Path:
    """Write a file with a second of silence, and a cover picture if one is given."""
    with av.open(path, "w") as file:
        stream = file.add_stream("aac", rate=44100)
        picture_stream = None
        if cover is not None:
            picture_stream = file.add_stream("mjpeg", rate=1)
            picture_stream.height, picture_stream.width = cover.shape[:2]
            picture_stream.pix_fmt = "yuvj420p"
            picture_stream.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        file.mux([*stream.encode(frame), *stream.encode(None)])
        if picture_stream:
            image = av.VideoFrame.from_ndarray(cover, format="rgb24").reformat(format="yuvj420p")
            file.mux([*picture_stream.encode(image), *picture_stream.encode(None)])
    return path


def overwrite(path: Path, source: Path, spans: Iterable[tuple[float, float]]) -> Path:
    """Write a copy of `source` with zeros in some spans, each a pair of shares (0 to 1) of its length."""
    data = bytearray(source.read_bytes())
    for start, end in spans:
        first, last = int(len(data) * start), int(len(data) * end)
        data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path


def read(path: Path, num_frames: int | None = 8, *, backend: Backend = "pyav", **request: Any) -> Video:
    """Return the result of `read_video` with TILING."""
    return read_video(path, FrameRequest(num_frames, **request), TILING, limit=512, backend=backend)


def numbers(video: Video) -> list[int]:
    """Return the numbers of the frames that a video holds."""
    return [number_of(tile) for tile in video.tiles[:, 0]]
