"""TODO: what this file is about."""

from typing import Any

from model.video.frames import FrameRequest
from server.errors import ApiError
from server.request_media import VideoOptions
from server.settings import Settings

from .request_fields import QuestionFields, VideoFields, VisionFields

VISION_FIELDS = ("v2pe_delta", "max_dynamic_patch", "min_dynamic_patch", "max_dynamic_patch_total")
DEFAULT_FRAMES = 32  # of a video; published in OpenGVLab's model cards


def _video(fields: VideoFields, settings: Settings) -> VideoOptions:
    """What to take of a video. The published 32 frames where neither a number nor a rate is sent."""
    asked = fields.num_frames
    if asked is None and fields.fps is None:
        asked = DEFAULT_FRAMES
    frames = None if asked is None else min(asked, settings.max_frames)
    return VideoOptions(
        frames=FrameRequest(num_frames=frames, fps=fields.fps, mode=fields.mode),
        max_tiles=fields.max_dynamic_patch,
    )


def _vision(fields: QuestionFields) -> dict[str, Any]:
    nested = fields.mm_processor_kwargs or VisionFields()
    chosen: dict[str, Any] = {}
    for name in VISION_FIELDS:
        outer, inner = getattr(fields, name), getattr(nested, name)
        if outer is not None and inner is not None and outer != inner:
            raise ApiError(f"{name} is sent twice with different values; send it once.", param=name)
        value = inner if outer is None else outer
        if value is not None:
            chosen[name] = value
    return chosen


def parse_vision_options(fields: QuestionFields, settings: Settings) -> tuple[dict[str, Any], VideoOptions]:
    """How a question's media are seen (mm_processor_kwargs), and what is taken of its videos; raises
    ApiError.
    """
    media = fields.media_io_kwargs
    video = VideoFields() if media is None else media.video or VideoFields()
    vision = _vision(fields)
    if video.timestamps:
        vision["video_timestamps"] = True
    return vision, _video(video, settings)
