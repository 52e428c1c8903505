"""Decode a video once from its beginning to its end, and yield the frames that are chosen."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

import av
from PIL import Image

from .container import MAX_PIXELS, Packets

THREADS = 2
SKIPPING = ("h264", "hevc", "vp9", "vp8", "mpeg4", "mpeg2video", "mpeg1video")
"""The codecs whose unreferenced frames can be skipped. AV1 would lose frames that it shows later."""
TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_270,
}


def decode_frames(
    container: Any, stream: Any, chosen: Collection[int], side: int
) -> Iterator[tuple[int, Image.Image]]:
    """Yield (time in ticks, RGB image of side x side pixels) of the chosen frames that can be decoded.

    They come in the order of display, but for damaged files. Frames on which no other depends are skipped
    unless they are chosen.
    """
    context = stream.codec_context
    context.thread_type = "AUTO"
    context.thread_count = THREADS
    # The limit is doubled, because decoders count the blocks that extend over the edges.
    context.options = {"max_pixels": str(2 * MAX_PIXELS)}
    skip = "NONREF" if context.codec.canonical_name in SKIPPING else "DEFAULT"
    waiting = set(chosen)
    for packet in chain(Packets(container, stream), [None]):
        if packet is not None and packet.pts is not None:  # One without a time belongs to the one before it.
            context.skip_frame = "DEFAULT" if packet.pts in waiting else skip
        for frame in _decode(context, packet):
            if frame.pts in waiting:
                waiting.remove(frame.pts)
                yield frame.pts, _square(frame, side)
        if not waiting:
            return


def _decode(context: Any, packet: Any) -> list[Any]:
    try:
        frames: list[Any] = context.decode(packet)  # With None it returns the frames that it still holds.
    except av.FFmpegError:
        return []  # This packet is damaged, but the next ones may not be.
    return frames


def _square(frame: Any, side: int) -> Image.Image:
    image: Image.Image = frame.reformat(side, side, "rgb24", interpolation="BICUBIC").to_image()
    turn = TURNS.get(round(frame.rotation / 90) * 90)
    return image.transpose(turn) if turn is not None else image
