"""The decoded media that belong to one request."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.video.frames import FrameRequest
from model.video.tiles import Video

HANDLE = "internvl3:"  # the prefix of a handle, which stands for a decoded video in a message
Videos = Mapping[str, Video]  # by handle


@dataclass(frozen=True)
class RequestMedia:
    """The videos of one request by handle, and its images by data: URL.

    With test-time scaling the media are rendered once for the policy and again for each answer
    that the critic scores. `images` keeps the decoding tasks, so that each image is decoded only once.
    """

    videos: Videos
    images: dict[str, asyncio.Task[Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """The frames and tiles that a request takes from each of its videos."""

    frames: FrameRequest
    max_tiles: int  # per frame; the thumbnail is not counted
