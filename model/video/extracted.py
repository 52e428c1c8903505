"""Frames that a client has extracted from a video itself, with what it says of their times.

The fields and their meaning are vLLM's (`VideoMediaIO.load_base64` in vllm/multimodal/media/video.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.images.file import ImageError, decode_image, open_image

from .file import VideoError

ROUNDING = 0.5  # seconds by which a duration may be rounded


@dataclass(frozen=True, kw_only=True)
class FrameTiming:
    """When extracted frames were shown in their video.

    Frame `frames_indices[i]` of the video is frame i of those that were sent; by default they are its first
    frames. The video has `total_num_frames`, lasts `duration` seconds and shows `fps` frames in a second. If
    `fps` is None, it follows from the other two; if these are None too, it is 1, as in vLLM.
    """

    fps: float | None = None
    frames_indices: tuple[int, ...] | None = None
    total_num_frames: int | None = None
    duration: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the client has said when the frames were shown."""
        return self.fps is not None or self.duration is not None

    def num_total(self, count: int) -> int:
        """Return the number of the video's frames, of which `count` were sent."""
        return count if self.total_num_frames is None else self.total_num_frames

    def times(self, count: int) -> NDArray[np.float64]:
        """Return the times (count,) of the frames, in seconds from the video's first frame.

        Raises:
            ValueError: the fields contradict each other or the number of frames.
        """
        indices = tuple(range(count)) if self.frames_indices is None else self.frames_indices
        total = self.num_total(count)
        if len(indices) != count:
            raise ValueError(f"frames_indices holds {len(indices)} numbers, but {count} frames were sent")
        if any(later <= earlier for earlier, later in pairwise(indices)):
            raise ValueError("frames_indices must ascend")
        if indices[-1] >= total:
            raise ValueError(f"a frame has the index {indices[-1]}, but the video has {total} frames")
        times = np.array(indices, np.float64) / self._rate(total)
        if self.duration is not None and times[-1] > self.duration + ROUNDING:
            raise ValueError(f"a frame is shown at {times[-1]:g} s, but the video lasts {self.duration:g} s")
        return times

    def seconds(self, count: int) -> float:
        """Return how long the video lasts."""
        total = self.num_total(count)
        return total / self._rate(total) if self.duration is None else self.duration

    def _rate(self, total: int) -> float:
        if self.fps is not None:
            return self.fps
        return 1.0 if self.duration is None else total / self.duration


@dataclass(frozen=True, kw_only=True)
class ExtractedFrames:
    """Where the frames lie in a file, one behind the other, with `sizes` bytes each."""

    sizes: tuple[int, ...]
    timing: FrameTiming
    max_pixels: int  # of one frame

    def decode(self, path: Path, chosen: NDArray[np.int64]) -> Iterator[tuple[int, Image.Image]]:
        """Yield (index in `chosen`, RGB image) of every chosen frame, in order.

        Raises:
            VideoError: a frame is no image, is damaged, or has more than `max_pixels`.
        """
        starts = np.cumsum([0, *self.sizes])
        with path.open("rb") as file:
            for chosen_index, frame in enumerate(map(int, chosen)):
                file.seek(int(starts[frame]))
                try:
                    opened = open_image(file.read(self.sizes[frame]), max_pixels=self.max_pixels)
                    yield chosen_index, decode_image(opened)
                except ImageError as error:
                    raise VideoError(f"Frame {frame} of the video: {error}") from None
