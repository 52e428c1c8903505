"""Put the packets of a file on one clock, also where files were strung together and their clocks restart."""

from typing import Any

BY_DECODING_TIME = ("mpegts", "flv")  # their decoding times never fall within a part
BY_KEYFRAME = ("matroska,webm",)  # they store none, but a keyframe is shown after all packets before it
LEAP = (
    2**32
)  # ticks; a transport stream counts to twice as many, and FFmpeg adds that to a part that begins early


class Clock:
    """Moves the times of packets that are read from the beginning of a file, in its order.

    Where the clock restarts, the new part begins at its first keyframe, when the last frame of the part
    before it ends. Packets in front of that keyframe, or shown before it, depend on frames that the file
    doesn't have.
    """

    def __init__(self, container_format: str) -> None:
        self._format = container_format
        self._decoded: int | None = None  # the decoding time of the last packet, as the file has it
        self._latest: int | None = None  # the latest time of display in this part, as the file has it
        self._end = 0  # when the last frame so far ends, on the one clock
        self._shift: int | None = 0  # of this part; None until its first keyframe has come
        self._start: int | None = None  # of this part on the one clock; None for the first part

    def place(self, packet: Any) -> bool:
        """Move the times of a packet to the one clock, and return whether it belongs to the video."""
        if self._restarts(packet):
            self._shift, self._latest = None, None
        if packet.pts is not None:
            self._latest = packet.pts if self._latest is None else max(self._latest, packet.pts)
        if self._shift is None:
            if not packet.is_keyframe or packet.pts is None:
                return False
            self._shift, self._start = self._end - packet.pts, self._end
        if packet.dts is not None:
            packet.dts += self._shift
        if packet.pts is not None:
            packet.pts += self._shift
            if self._start is not None and packet.pts < self._start:
                return False
            self._end = max(self._end, packet.pts + max(packet.duration or 0, 1))
        return True

    def _restarts(self, packet: Any) -> bool:
        if self._format in BY_DECODING_TIME:
            time = packet.dts if packet.dts is not None else packet.pts
            before, self._decoded = self._decoded, time if time is not None else self._decoded
            return time is not None and before is not None and not before <= time < before + LEAP
        return (
            self._format in BY_KEYFRAME
            and packet.is_keyframe
            and packet.pts is not None
            and self._latest is not None
            and packet.pts < self._latest
        )
