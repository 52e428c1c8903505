"""TODO: what this file is about."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.video.frames import FrameRequest
from model.video.tiles import Video

HANDLE = "internvl3:"
Videos = Mapping[str, Video]  # by handle


@dataclass(frozen=True)
class RequestMedia:
    """One request's media: its videos by handle, and its images by data: URL as they get decoded.

    A choice renders its media once for the policy and again for every judged step; without this each time
    would decode the images.
    """

    videos: Videos
    images: dict[str, asyncio.Task[Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """What a request takes of its videos."""

    frames: FrameRequest
    max_tiles: int  # of one frame, thumbnail not counted
