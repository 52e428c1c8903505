"""What the server asks a decoding process for: a video, and the frames and tiles to take from it."""

from dataclasses import dataclass
from pathlib import Path

from model.images.tiling import TilingConfig

from .extracted import ExtractedFrames
from .file import VideoBounds
from .frames import FrameRequest
from .tiles import Backend, Video, read_extracted, read_video


@dataclass(frozen=True, kw_only=True)
class VideoOrder:
    """The arguments of `read_video`, or of `read_extracted` if there are `extracted` frames in the file."""

    path: Path
    request: FrameRequest
    tiling: TilingConfig
    limit: int
    backend: Backend = "pyav"
    bounds: VideoBounds = VideoBounds()  # noqa: RUF009 (frozen)
    extracted: ExtractedFrames | None = None

    @property
    def num_frames(self) -> int:
        """The most frames that the process has to decode."""
        there = self.limit if self.extracted is None else min(self.limit, len(self.extracted.sizes))
        return self.request.num_wanted(there)

    def read(self) -> Video:
        """Return the video. Raises VideoError."""
        if self.extracted is not None:
            return read_extracted(self.path, self.extracted, self.request, self.tiling, limit=self.limit)
        return read_video(
            self.path,
            self.request,
            self.tiling,
            limit=self.limit,
            backend=self.backend,
            bounds=self.bounds,
        )
