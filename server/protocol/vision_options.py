"""Read how a request wants its images and videos to be seen."""

from typing import Any

from server.errors import ApiError
from server.request_media import VideoOptions
from server.settings import Settings

from .image_detail import image_tiles
from .prompt_rules import count_media
from .request_fields import QuestionFields, VisionFields
from .video_fields import VideoFields, video_options

VISION_FIELDS = ("v2pe_delta", "max_dynamic_patch", "min_dynamic_patch", "max_dynamic_patch_total")


def _vision(fields: QuestionFields) -> dict[str, Any]:
    """Return the vision fields that are set: at the top level, in mm_processor_kwargs, or in the images."""
    nested = fields.mm_processor_kwargs or VisionFields()
    chosen: dict[str, Any] = {}
    for name in VISION_FIELDS:
        outer, inner = getattr(fields, name), getattr(nested, name)
        if outer is not None and inner is not None and outer != inner:
            raise ApiError(f"{name} is sent twice with different values. Send it once.", param=name)
        value = inner if outer is None else outer
        if value is not None:
            chosen[name] = value
    deltas, media = chosen.get("v2pe_delta"), count_media(fields.messages)
    if isinstance(deltas, tuple) and len(deltas) != media:
        raise ApiError(
            f"v2pe_delta has {len(deltas)} numbers, but there are {media} images and videos. Send one for "
            "each, in the order of the prompt, or one number for all.",
            param="v2pe_delta",
        )
    tiles = image_tiles(fields.messages)
    if tiles is not None and chosen.setdefault("max_dynamic_patch", tiles) != tiles:
        raise ApiError(
            f"max_dynamic_patch is {chosen['max_dynamic_patch']}, but the images ask for {tiles} tiles. "
            "Send it once.",
            param="max_dynamic_patch",
        )
    return chosen


def parse_vision_options(fields: QuestionFields, settings: Settings) -> tuple[dict[str, Any], VideoOptions]:
    """Return the processor's options (mm_processor_kwargs) for a question's media, and those of its videos.

    Raises ApiError if a field is sent twice with different values, or doesn't fit the videos.
    """
    media = fields.media_io_kwargs
    video = VideoFields() if media is None else media.video or VideoFields()
    vision = _vision(fields)
    if video.timestamps:
        vision["video_timestamps"] = True
    return vision, video_options(video, fields.messages, settings)
