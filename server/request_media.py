"""The decoded media of one request, which its messages name by handles."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from model.video.extracted import FrameTiming
from model.video.frames import FrameRequest
from model.video.tiles import Video

HANDLE = "internvl3:"  # the prefix of a handle, which stands for a decoded image or video in a message


@dataclass(frozen=True)
class LoadedImage:
    """An image that was decoded, in RGB and upright, with the file that it came as."""

    pixels: Image.Image
    file: bytes
    media_type: str  # of the file, such as image/jpeg


Media = Mapping[str, LoadedImage | Video]  # by handle


def holds_frames(url: str) -> bool:
    """Return whether a URL holds single frames of a video, as vLLM takes them.

    Such a URL is `data:video/jpeg;base64,FRAME,FRAME,...`.
    """
    return re.match("data:video/jpeg[;,]", url, re.IGNORECASE) is not None


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """The frames and tiles that a request takes from each of its videos."""

    frames: FrameRequest  # of a video file
    extracted: FrameRequest = FrameRequest(None)  # noqa: RUF009 (frozen); of frames that a client has extracted
    timing: FrameTiming = FrameTiming()  # noqa: RUF009 (frozen); when these were shown
    max_tiles: int  # per frame; the thumbnail is not counted
