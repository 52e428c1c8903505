"""Open a video file that may be hostile or broken, and read its packets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from .clock import Clock
from .errors import VideoError

FORMATS = ("mp4", "matroska", "mpegts", "flv", "avi")
"""The containers under FFmpeg's names; a playlist or an image sequence would make it open other files."""
CODECS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg")
IN_AVI = ("mpeg4", "mjpeg")  # AVI stores no order of display, so frames of other codecs would be mixed up
MAX_PIXELS = 8192 * 4320


@contextmanager
def open_container(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video file, check it, and yield PyAV's container and its video stream. Raises VideoError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise VideoError(f"{path} can't be read: {error.strerror}. Check the path.", "probe") from None
    if not path.is_file():
        raise VideoError(f"{path} is no file. Name a video file.", "probe")
    if size == 0:
        raise VideoError(f"{path} is empty. Copy the video again.", "probe")
    try:
        # With "file:" in front, FFmpeg doesn't read a name like "concat:a" as a protocol.
        container = av.open(
            f"file:{path}",
            container_options={"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError):
        raise VideoError(
            f"{path} is no video that can be read, or it is cut off. "
            "Use a complete MP4, MOV, MKV, WebM, MPEG-TS, FLV or AVI file.",
            "probe",
        ) from None
    with container:
        yield container, _video_stream(container, path)


def _video_stream(container: Any, path: Path) -> Any:
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        raise VideoError(
            f"{path} holds no video, only sound or a cover picture. Use a file with a video track.", "probe"
        )
    context = stream.codec_context
    codec = context.codec.canonical_name if context else "unknown"
    allowed = IN_AVI if container.format.name == "avi" else CODECS
    if codec not in allowed:
        raise VideoError(
            f"{path} holds {codec} in {container.format.name}, which isn't read. "
            "Encode the video as H.264 in MP4.",
            "probe",
        )
    if context.width * context.height > MAX_PIXELS:
        raise VideoError(
            f"{path} has frames of {context.width} x {context.height} pixels. Use a lower resolution.",
            "probe",
        )
    return stream


class Packets:
    """The packets of the video stream on one clock, from the file's beginning.

    After they were read, `is_damaged` is whether reading stopped at damage, and `end` is when the last packet
    of any stream ends, in seconds of the file's own clock.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self.is_damaged = False
        self.end = 0.0

    def __iter__(self) -> Iterator[Any]:
        clock = Clock(self._container.format.name)
        try:
            for packet in self._container.demux():
                if not packet.size:
                    continue
                if packet.pts is not None:
                    self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream is self._stream and clock.place(packet):
                    yield packet
        except IndexError:  # PyAV raises it at the end of a file in which another stream appeared.
            return
        except av.FFmpegError:
            self.is_damaged = True
