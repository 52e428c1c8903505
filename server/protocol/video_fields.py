"""The request's `media_io_kwargs.video`: which frames of its videos are taken, and how they are seen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from model.video.extracted import FrameTiming
from model.video.frames import FrameRequest
from server.errors import ApiError
from server.request_media import VideoOptions, holds_frames
from server.settings import Settings

DEFAULT_FRAMES = 32  # frames of a video, as published in OpenGVLab's model cards
ALL_FRAMES = -1  # as a value of num_frames, as in vLLM
FIELD = "media_io_kwargs.video"
OF_EXTRACTED = ("frames_indices", "total_num_frames", "duration")  # say when extracted frames were shown
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, lt=2**53)]


class VideoFields(BaseModel):
    """The frames to take, and what the client says of frames that it has extracted itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    num_frames: int | None = Field(default=None, ge=ALL_FRAMES)
    fps: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    mode: Literal["exact", "keyframe"] = "exact"
    start: Seconds | None = None
    end: Seconds | None = None
    times: list[Seconds] | None = Field(default=None, min_length=1, fail_fast=True)
    timestamps: bool = False
    max_dynamic_patch: int = Field(default=1, ge=1)
    frames_indices: list[Index] | None = Field(default=None, min_length=1, fail_fast=True)
    total_num_frames: int | None = Field(default=None, ge=1, lt=2**53)
    duration: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    do_sample_frames: Literal[False] = False  # vLLM's field; the processor takes all frames that it gets

    @field_validator("num_frames")
    @classmethod
    def _some_frames(cls, value: int | None) -> int | None:
        if value == 0:
            raise ValueError(f"num_frames must be at least 1, or {ALL_FRAMES} for all frames")
        return value

    @field_validator("end")
    @classmethod
    def _after_start(cls, value: float | None, info: ValidationInfo) -> float | None:
        start = info.data.get("start") or 0
        if value is not None and value <= start:
            raise ValueError(f"end must be after start, which is {start:g}")
        return value

    @field_validator("times")
    @classmethod
    def _alone(cls, value: list[float] | None, info: ValidationInfo) -> list[float] | None:
        others = [name for name in ("num_frames", "start", "end") if info.data.get(name) is not None]
        if value is not None and others:
            raise ValueError(f"times can't be combined with {others[0]}. Send one of them")
        return value


def video_options(
    fields: VideoFields, messages: Sequence[Mapping[str, Any]], settings: Settings
) -> VideoOptions:
    """Return which frames to take: 32 of each video file if the request doesn't say which.

    Raises:
        ApiError: 400, if the fields don't fit the videos in `messages`.
    """
    kinds = {holds_frames(url) for url in video_urls(messages)}
    timing = FrameTiming(
        fps=fields.fps,
        frames_indices=None if fields.frames_indices is None else tuple(fields.frames_indices),
        total_num_frames=fields.total_num_frames,
        duration=fields.duration,
    )
    _check(fields, timing, kinds, settings)
    times = None if fields.times is None else tuple(fields.times)
    num_frames = None if fields.num_frames == ALL_FRAMES else fields.num_frames
    extracted = FrameRequest(num_frames=num_frames, start=fields.start, end=fields.end, times=times)
    if times is None and fields.num_frames is None and fields.fps is None:
        num_frames = DEFAULT_FRAMES
    if num_frames is not None:
        num_frames = min(num_frames, settings.max_frames)
    frames = FrameRequest(
        num_frames=num_frames,
        fps=None if kinds == {True} else fields.fps,
        mode=fields.mode,
        start=fields.start,
        end=fields.end,
        times=times,
    )
    return VideoOptions(frames=frames, extracted=extracted, timing=timing, max_tiles=fields.max_dynamic_patch)


def _check(fields: VideoFields, timing: FrameTiming, kinds: set[bool], settings: Settings) -> None:
    """Raise ApiError if fields contradict each other or the kinds of videos: True are extracted frames."""
    if True not in kinds:
        for name in OF_EXTRACTED:
            if getattr(fields, name) is not None:
                raise ApiError(
                    f"{name} is for frames that you have extracted (data:video/jpeg;base64,...), but the "
                    f"request has none. Leave {name} out.",
                    param=f"{FIELD}.{name}",
                )
    elif fields.timestamps and not timing.is_known:
        raise ApiError(
            "timestamps needs to know when the frames that you have extracted are shown. Send fps or "
            "duration with them.",
            param=f"{FIELD}.timestamps",
        )
    if fields.times is not None and fields.fps is not None and kinds != {True}:
        raise ApiError("times can't be combined with fps. Send one of them.", param=f"{FIELD}.times")
    if fields.times is not None and len(fields.times) > settings.max_frames:
        raise ApiError(
            f"times holds {len(fields.times)} numbers, and {settings.max_frames} frames of a video may be "
            "taken. Send fewer.",
            param=f"{FIELD}.times",
            code="too_many_frames",
        )


def video_urls(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the URL of each part that may be a video, or an empty text if the part holds none."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and part.get("type") in ("video_url", "file"):
                video = part.get("video_url")
                url = video.get("url") if isinstance(video, Mapping) else video
                yield url if isinstance(url, str) else ""
