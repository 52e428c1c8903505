"""Turn a video file into the tiles of chosen frames, for `internvl3 bench video`.

All systems take the same frames, the published choice, and cut them with the same code. They differ in how
they find and decode the frames.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.images.tiling import TilingConfig, tile_image
from model.video.frames import FrameRequest, segment_midpoints
from model.video.tiles import read_video

TILING = TilingConfig(448, 1, 1, use_thumbnail=False)

Case = Mapping[str, Any]
Tiles = NDArray[np.uint8]


def tile(frames: Iterable[Tiles]) -> Tiles:
    """Return the tiles of RGB frames as an array (frames, tiles, side, side, 3)."""
    return np.stack([tile_image(Image.fromarray(frame), TILING) for frame in frames])


class _System:
    """What all systems have in common."""

    def prepare(self, case: Case) -> Case:
        return case

    def summary(self, result: Tiles) -> list[str]:
        """Return a digest of each frame's tiles."""
        return [sha256(tiles.tobytes()).hexdigest() for tiles in result]


class Ours(_System):
    """Our reader with the server's default, the exact frames."""

    request = FrameRequest()

    def work(self, prepared: Case) -> Tiles:
        frames = prepared["frames"]
        request = FrameRequest(frames, mode=self.request.mode)
        return read_video(prepared["path"], request, TILING, limit=frames).tiles


class OurKeyframes(Ours):
    """Our reader with the nearest keyframes instead of the exact frames."""

    request = FrameRequest(mode="keyframe")


class Vllm(_System):
    """vLLM's default reader: OpenCV on the bytes of the file, which grabs every frame on its way."""

    def __init__(self) -> None:
        from vllm.multimodal.video_decoders.opencv import OpenCVVideoBackendMixin

        self._reader = OpenCVVideoBackendMixin

    def work(self, prepared: Case) -> Tiles:
        capture = self._reader.open_video_capture(Path(prepared["path"]).read_bytes())
        total = self._reader.get_video_metadata(capture).total_frames_num
        chosen = segment_midpoints(total, prepared["frames"]).tolist()
        frames, _ = self._reader.read_frames(capture, chosen, total)
        return tile(frames)


class Decord(_System):
    """decord, opened as in InternVL's published code."""

    def __init__(self) -> None:
        import decord

        self._decord = decord

    def work(self, prepared: Case) -> Tiles:
        reader = self._decord.VideoReader(prepared["path"], ctx=self._decord.cpu(0), num_threads=1)
        chosen = segment_midpoints(len(reader), prepared["frames"])
        return tile(reader.get_batch(chosen).asnumpy())


class Sequential(_System):
    """A decode of every frame from first to last, with which the others are compared."""

    def work(self, prepared: Case) -> Tiles:
        with av.open(prepared["path"]) as file:
            total = sum(1 for packet in file.demux(video=0) if packet.size)
        chosen = set(segment_midpoints(total, prepared["frames"]).tolist())
        with av.open(prepared["path"]) as file:
            return tile(
                frame.to_ndarray(format="rgb24")
                for index, frame in enumerate(file.decode(video=0))
                if index in chosen
            )
