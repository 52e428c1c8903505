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
    keyframes, all in ticks of the stream. `times_F` are seconds from the first shown frame. `duration` is the
    number of seconds until the last frame ends. `open_gops` is whether some frames follow a keyframe in the
    file and are shown before it. `max_pixels` is the limit for one frame.
    """

    path: Path
    container: Any
    stream: Any
    pts_F: NDArray[np.int64]
    times_F: NDArray[np.float64]
    keys_K: NDArray[np.int64]
    seeks_K: NDArray[np.int64]
    duration: float
    open_gops: bool
    max_pixels: int

    @property
    def shown_keyframes(self) -> NDArray[np.int64]:
        """The indices of the shown frames that are keyframes."""
        return np.flatnonzero(np.isin(self.pts_F, self.keys_K))


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
        # With "file:" in front, FFmpeg doesn't read a name like "concat:a" as a protocol.
        container = av.open(
            f"file:{path}",
            container_options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
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
    if (container.duration or 0) / av.time_base > bounds.max_seconds:
        raise _too_long(bounds)
    return stream


def _index(path: Path, container: Any, stream: Any, bounds: VideoBounds) -> VideoFile:
    durations: dict[int, int] = {}  # The durations of shown frames, by display time.
    keys: dict[int, int] = {}
    open_gops = False
    for number, packet in enumerate(packets(container, stream)):
        if number == bounds.max_frames:
            raise VideoError(f"The video has more than {number} frames. Send a shorter part of it.")
        if packet.pts is None:
            continue  # It is the second field of an interlaced frame, or it can't be chosen by time.
        if packet.is_keyframe or not keys:
            key = packet.pts
            keys.setdefault(key, packet.dts if packet.dts is not None else key)
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
    seeks_K = np.array([keys[int(pts)] for pts in keys_K], np.int64)
    return VideoFile(
        path, container, stream, pts_F, times_F, keys_K, seeks_K, duration, open_gops, bounds.max_pixels
    )


def packets(container: Any, stream: Any) -> Iterator[Any]:
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
