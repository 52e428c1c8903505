"""Open a video file of a stranger safely, check its limits, and index its frames by their times.

Only headers and packets are read here; no chosen frame is decoded. The file may be hostile. A playlist or an
image sequence would make FFmpeg open other files, so their demuxers are not allowed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from .parts import Part, find_parts, on_one_clock

FORMATS = ("mp4", "matroska", "mpegts", "flv", "avi")
"""The allowed containers under FFmpeg's names. "mp4" includes MOV, and "matroska" includes WebM."""
CODECS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg")
IN_AVI = ("mpeg4", "mjpeg")
"""The allowed codecs in AVI. AVI stores no order of display, so frames of other codecs would be mixed up."""


class VideoError(ValueError):
    """An error for a video that can't be used.

    The message says why and what to send, and contains no file name and no address.
    """


@dataclass(frozen=True)
class VideoBounds:
    """The limits for a video file: the pixels of one frame, the seconds, and the number of frames."""

    max_pixels: int = 8192 * 4320
    max_seconds: float = 12 * 3600
    max_frames: int = 1_500_000


@dataclass(frozen=True)
class VideoFile:
    """An open video file. F: shown frames in the order of display. K: keyframes, shown or not.

    `pts_F` and `keys_K` are the display times of frames and keyframes, `seeks_K` the decoding times of the
    keyframes, all in ticks of the stream, and `positions_K` are their bytes in the file. `times_F` are
    seconds from the first shown frame. `duration` is the number of seconds until the last frame ends. `parts`
    is empty unless the clock restarts within the file; all times are on one clock. `open_gops` is whether
    some frames follow a keyframe in the file and are shown before it. `max_pixels` is the limit for one
    frame.
    """

    path: Path
    container: Any
    stream: Any
    pts_F: NDArray[np.int64]
    times_F: NDArray[np.float64]
    keys_K: NDArray[np.int64]
    seeks_K: NDArray[np.int64]
    positions_K: NDArray[np.int64]
    parts: tuple[Part, ...]
    duration: float
    open_gops: bool
    max_pixels: int

    @property
    def shown_keyframes(self) -> NDArray[np.int64]:
        """The indices of the shown frames that are keyframes."""
        return np.flatnonzero(np.isin(self.pts_F, self.keys_K))

    def packets_from(self, key: int) -> Iterator[Any]:
        """Yield the packets from a keyframe, or from one before it, to the end of the file.

        There are none if FFmpeg finds no way to the keyframe. If the clock restarts, FFmpeg can't seek by
        times. MPEG-TS is then read from the keyframe's byte on, and other containers from their beginning.
        """
        if self.parts and self.container.format.name != "mpegts":
            with _container(self.path) as again:
                stream = again.streams[self.stream.index]
                self.stream.codec_context.flush_buffers()  # as a seek does
                yield from on_one_clock(_packets(again, stream), self.parts)
            return
        by_byte = bool(self.parts)
        offset = int((self.positions_K if by_byte else self.seeks_K)[key])
        try:
            self.container.seek(offset, stream=self.stream, unsupported_byte_offset=by_byte)
        except av.FFmpegError:
            return
        yield from on_one_clock(_packets(self.container, self.stream), self.parts)


@contextmanager
def open_video(path: Path, bounds: VideoBounds) -> Iterator[VideoFile]:
    """Open a video file, check it, and yield it with an index of its frames; the file is read once.

    Raises:
        VideoError: there is no such file, it isn't a video of FORMATS and CODECS, it exceeds `bounds`, or it
            has no timestamps.
    """
    if not path.is_file():
        raise VideoError("There is no such video file.")
    try:
        container = _container(path)
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError):
        raise VideoError(
            "The file is not a video that can be read, or it is damaged. "
            "Send a complete MP4, MOV, MKV, WebM, MPEG-TS, FLV or AVI file."
        ) from None
    with container:
        stream = _check(container, bounds)
        yield _index(path, container, stream, bounds)


def _container(path: Path) -> Any:
    # With "file:" in front, FFmpeg doesn't read a name like "concat:a" as a protocol.
    return av.open(
        f"file:{path}",
        container_options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"},
        metadata_errors="replace",
    )


def _check(container: Any, bounds: VideoBounds) -> Any:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise VideoError(
            "The file holds no video, only sound or a cover picture. Send a file with a video track."
        )
    context = stream.codec_context
    codec = context.codec.canonical_name if context else "unknown"
    if codec not in CODECS:
        raise VideoError(
            f"The video's codec is not supported. Encode the video as one of {', '.join(CODECS[:5])}."
        )
    if container.format.name == "avi" and codec not in IN_AVI:
        raise VideoError("AVI has no timestamps for this codec. Put the video into an MP4 or MKV file.")
    if context.width * context.height > bounds.max_pixels:
        raise VideoError(
            f"A frame has {context.width} x {context.height} pixels, more than the limit of "
            f"{bounds.max_pixels} in all. Send the video at a lower resolution."
        )
    # FFmpeg subtracts the first time of a transport stream from the last, but the clock may have restarted.
    is_stream = container.format.name == "mpegts"
    if not is_stream and (container.duration or 0) / av.time_base > bounds.max_seconds:
        raise _too_long(bounds)
    return stream


def _index(path: Path, container: Any, stream: Any, bounds: VideoBounds) -> VideoFile:
    durations: dict[int, int] = {}  # The durations of shown frames, by display time.
    keys: dict[int, tuple[int, int]] = {}  # The decoding times and bytes of keyframes, by display time.
    open_gops = False
    parts: list[Part] = []
    found = find_parts(_packets(container, stream), container.format.name, parts)
    for number, packet in enumerate(found):
        if number == bounds.max_frames:
            raise VideoError(f"The video has more than {number} frames. Send a shorter part of it.")
        if packet.pts is None:
            continue  # It is the second field of an interlaced frame, or it can't be chosen by time.
        if packet.is_keyframe or not keys:
            key = packet.pts
            keys.setdefault(key, (packet.dts if packet.dts is not None else key, packet.pos or 0))
        open_gops = open_gops or packet.pts < key
        if not packet.is_discard:  # An edit list hides discarded packets.
            durations[packet.pts] = packet.duration or 0
    keys_K = np.array(sorted(keys), np.int64)
    # Frames that are shown before the first keyframe depend on frames that aren't in the file.
    pts_F = np.array([pts for pts in sorted(durations) if pts >= keys_K[0]], np.int64)
    if not len(pts_F):
        raise VideoError("The video has no frames with timestamps. Send the complete file, or an MP4.")
    times_F = (pts_F - pts_F[0]) * float(stream.time_base)
    duration = float(times_F[-1] + durations[int(pts_F[-1])] * stream.time_base)
    if duration > bounds.max_seconds:
        raise _too_long(bounds)
    seeks_K, positions_K = np.array([keys[int(pts)] for pts in keys_K], np.int64).T
    return VideoFile(
        path=path,
        container=container,
        stream=stream,
        pts_F=pts_F,
        times_F=times_F,
        keys_K=keys_K,
        seeks_K=seeks_K,
        positions_K=positions_K,
        parts=tuple(parts),
        duration=duration,
        open_gops=open_gops,
        max_pixels=bounds.max_pixels,
    )


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets from the container's current position to its end, or up to damage that stops it."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except MemoryError:
        raise
    # PyAV raises IndexError at the end of a file in which another stream appeared.
    except (av.FFmpegError, IndexError):
        return


def _too_long(bounds: VideoBounds) -> VideoError:
    return VideoError(f"The video is longer than {bounds.max_seconds:g} seconds. Send a shorter part of it.")
