"""Decode the chosen frames of a video with PyAV (FFmpeg), equal to those of a full decode.

For each chosen frame the decoder starts at the keyframe before it, and skips frames that no other frame
depends on. Frames are found by their timestamps, never by counting.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .file import VideoFile

THREADS = 2
SKIPPING = ("h264", "hevc", "vp9", "vp8", "mpeg4", "mpeg2video", "mpeg1video")
"""The codecs whose unreferenced frames can be skipped. AV1 would lose frames that it shows later."""
TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_270,
}


def decode(file: VideoFile, chosen: NDArray[np.int64]) -> Iterator[tuple[int, Image.Image]]:
    """Yield (index in `chosen`, RGB image as shown) of the chosen frames that can be decoded, unsorted."""
    context = file.stream.codec_context
    context.thread_type = "AUTO"
    context.thread_count = THREADS
    # Later frames may be larger than the first, so the decoder checks them too. The limit is doubled, because
    # decoders count the blocks that extend over the edges.
    context.options = {"max_pixels": str(2 * file.max_pixels)}
    chosen_indices = {int(pts): chosen_index for chosen_index, pts in enumerate(file.pts_F[chosen])}
    # A frame may depend on more than its keyframe: if pictures are refreshed in small parts, a keyframe only
    # marks where a round of refreshing begins. So frames that don't come out are tried once more, from an
    # earlier keyframe.
    for from_earlier_keyframe in (False, True):
        for key, group in groupby(sorted(chosen_indices), lambda pts: _keyframe(file, pts)):
            for pts, frame in _decode_from(
                file, key, list(group), from_earlier_keyframe=from_earlier_keyframe
            ):
                yield chosen_indices.pop(pts), _upright(frame)


def _keyframe(file: VideoFile, pts: int) -> int:
    return int(np.searchsorted(file.keys_K, pts, side="right")) - 1


def _decode_from(
    file: VideoFile, key: int, chosen_pts: Sequence[int], *, from_earlier_keyframe: bool
) -> Iterator[tuple[int, Any]]:
    """Yield (timestamp, frame) of each chosen frame that decoding from keyframe `key` gives.

    With `from_earlier_keyframe`, decoding starts two keyframes earlier and skips no frame.
    """
    key = max(key - 2, 0) if from_earlier_keyframe else key
    context = file.stream.codec_context
    skip = "NONREF" if context.codec.canonical_name in SKIPPING and not from_earlier_keyframe else "DEFAULT"
    waiting, unsent = set(chosen_pts), set(chosen_pts)
    started, started_clean = False, from_earlier_keyframe
    for packet in chain(file.packets_from(key), [None]):
        # A seek may land before the keyframe. Decoding the packets up to it would only cost time.
        if not started and packet is not None and packet.pts == file.keys_K[key]:
            started = True
            # A keyframe that an edit list hides never comes out of the decoder.
            started_clean = started_clean or packet.is_discard
        if not started:
            continue
        last = packet is None or (not unsent and packet.pts is not None)
        if not last and packet.pts is not None:  # A packet without a time belongs to the one before it.
            context.skip_frame = "DEFAULT" if packet.pts in unsent else skip
            unsent.discard(packet.pts)
        for frame in _decode(context, None if last else packet):
            # If the keyframe doesn't come out, or comes out after others, decoding can't start from it.
            started_clean = started_clean or frame.pts == file.keys_K[key]
            if started_clean and frame.pts in waiting:
                waiting.remove(frame.pts)
                yield frame.pts, frame
        if last or not waiting:
            return


def _decode(context: Any, packet: Any) -> list[Any]:
    try:
        frames: list[Any] = context.decode(packet)  # With None it returns the frames that it still holds.
    except MemoryError:
        raise
    except av.FFmpegError:
        return []  # This packet is damaged, but the next ones may not be.
    return frames


def _upright(frame: Any) -> Image.Image:
    image = frame.to_image()
    turn = TURNS.get(round(frame.rotation / 90) * 90)
    return image.transpose(turn) if turn is not None else image
