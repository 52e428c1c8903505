"""Put the parts of a video file on one clock, if the clock restarts where files were strung together.

Recorders, and tools that join the files of a live stream, write such files. Without this, frames of two parts
would have the same times, and only those of one part would be found.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

BY_DECODING_TIME = ("mpegts", "flv")
"""Containers that store decoding times, which never fall within a part."""
BY_KEYFRAME = ("matroska,webm",)
"""Containers without them. A keyframe is shown after all frames that stand before it in its part."""
WRAP = 2**33
"""MPEG-TS counts to this number of ticks. FFmpeg adds it if a part begins long before the first one."""


@dataclass(frozen=True)
class Part:
    """The packets from byte `position` of the file up to the next part.

    `shift` ticks are added to their times. Packets that are shown before `start` are left out, because they
    depend on frames that the file doesn't have. If `start` is None, all are left out: no keyframe has come.
    """

    position: int
    shift: int = 0
    start: int | None = None


def find_parts(packets: Iterable[Any], container_format: str, parts: list[Part]) -> Iterator[Any]:
    """Yield a file's packets on one clock, and append a Part to `parts` at each restart of the clock.

    Args:
        packets: all packets of the video stream, in the order of the file.
        container_format: FFmpeg's name of the container.
        parts: an empty list.
    """
    part: Part | None = None
    end = 0  # the end of the last shown frame so far, on one clock
    decoded = latest = None  # the decoding time of the last packet, and the latest display time in its part
    for packet in packets:
        time = packet.dts if packet.dts is not None else packet.pts
        if container_format in BY_DECODING_TIME and time is not None:
            restarts = decoded is not None and not decoded <= time < decoded + WRAP // 2
            decoded = time
        else:
            restarts = container_format in BY_KEYFRAME and bool(
                packet.is_keyframe and None not in (packet.pts, latest) and packet.pts < latest
            )
        if restarts and packet.pos is not None:
            part, latest = Part(packet.pos), None
            parts.append(part)
        if (
            part is not None
            and part.start is None
            and packet.is_keyframe
            and None not in (packet.pts, packet.pos)
        ):
            part = Part(packet.pos, end - packet.pts, end)
            parts.append(part)
        if packet.pts is not None:
            latest = packet.pts if latest is None else max(latest, packet.pts)
        if _moved(packet, part):
            if packet.pts is not None:
                end = max(end, packet.pts + max(packet.duration or 0, 1))
            yield packet


def on_one_clock(packets: Iterable[Any], parts: Iterable[Part]) -> Iterator[Any]:
    """Yield packets from anywhere in a file with the times that `find_parts` gave them."""
    part: Part | None = None
    waiting = list(parts)
    for packet in packets:
        while waiting and packet.pos is not None and packet.pos >= waiting[0].position:
            part = waiting.pop(0)
        if _moved(packet, part):
            yield packet


def _moved(packet: Any, part: Part | None) -> bool:
    """Move a packet's times by the shift of its part, and return whether the packet belongs to the video."""
    if part is None:
        return True
    if part.start is None:
        return False
    if packet.dts is not None:
        packet.dts += part.shift
    if packet.pts is not None:
        packet.pts += part.shift
        return bool(packet.pts >= part.start)
    return True
