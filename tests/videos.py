"""Small videos whose every frame carries its number, written with PyAV.

Sixteen squares in the top row of a frame are its number in binary, black or white: what a decoder returned is
read off the pixels. Around them a moving pattern makes predicted frames worth predicting.
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
"""A tile is as large as a frame, so that it holds the frame's own pixels."""
VARIED = np.cumsum(np.random.default_rng(7).choice([0.02, 0.033, 0.1, 0.5], FRAMES)).round(3).tolist()
VP9 = {"g": "30", "b": "300k", "deadline": "realtime", "cpu-used": "8"}
# What a decoder may lean on differs: references among B-frames, frames before the keyframe that they follow,
# pictures refreshed bit by bit without whole keyframes, frames that are stored once and shown later.
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
"""The path of the clip of that name; see the fixture `clip`."""


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """RGB (height, width, 3) of frame `number`."""
    width, height = size
    y, x = np.arange(height)[:, None], np.arange(width)[None]
    pixels = np.empty((height, width, 3), np.uint8)
    for channel, values in enumerate((x * 2 + 5 * number, y * 3 + 2 * number, x + 7 * number)):
        pixels[..., channel] = values % 256
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    pixels[:SIDE, : BITS * SIDE] = np.repeat(bits, SIDE)[None, :, None]
    return pixels


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


def write_sound(path: Path, cover: NDArray[np.uint8] | None = None) -> Path:
    """A second of silence, at most with a cover picture."""
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
    """A copy of `source` with zeros between the given shares (0 to 1) of its length."""
    data = bytearray(source.read_bytes())
    for start, end in spans:
        first, last = int(len(data) * start), int(len(data) * end)
        data[first:last] = bytes(last - first)
    path.write_bytes(data)
    return path


def read(path: Path, num_frames: int | None = 8, *, backend: Backend = "pyav", **request: Any) -> Video:
    """`read_video` with TILING."""
    return read_video(path, FrameRequest(num_frames, **request), TILING, limit=512, backend=backend)


def numbers(video: Video) -> list[int]:
    """Which frames a video holds."""
    return [number_of(tile) for tile in video.tiles[:, 0]]
