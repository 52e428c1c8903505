"""A chat request's body taken apart: our fields become a `ChatCall`, the rest stays a plain OpenAI body.

The engine validates that rest with vLLM's own types.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from model.frames import FrameRequest

from .errors import ApiError, model_not_found
from .protocol import ChatFields, Question, Scaling, VideoFields, Vision
from .settings import Settings
from .videos import Videos, VideoWish

ALIAS = re.compile(r"(?P<name>.+):bo(?P<n>\d{1,9})")  # NAME:bo8, for clients that can't send extra fields
VISION_FIELDS = ("v2pe_delta", "max_dynamic_patch", "min_dynamic_patch", "max_dynamic_patch_total")
OUR_FIELDS = ("best_of", "test_time_scaling", "media_io_kwargs", *VISION_FIELDS)
DEFAULT_FRAMES = 32  # of a video; published in OpenGVLab's model cards
TYPE_NAMES = ("str", "int", "float", "bool", "list", "dict")
ENGINE_FIELDS = ("kv_transfer_params", "ec_transfer_params")  # vLLM's, not for clients


@dataclass(frozen=True, kw_only=True)
class ChatCall:
    """One chat request, checked as far as possible without the engine."""

    body: Mapping[str, Any]  # OpenAI's and vLLM's fields; `model` is a served name
    stream: bool
    n: int  # choices to return
    seed: int | None
    scaling: Scaling | None  # None: one plain generation
    vision: Mapping[str, Any]  # mm_processor_kwargs: what the caller chose of how images are seen
    video: VideoWish
    videos: Videos = field(default_factory=dict)  # those of the messages, decoded

    def with_media(self, messages: Sequence[Mapping[str, Any]], videos: Videos) -> "ChatCall":
        """The call about other messages: the same ones, their media checked and decoded."""
        return replace(self, body={**self.body, "messages": list(messages)}, videos=videos)


def parse_call(body: Mapping[str, Any], settings: Settings) -> ChatCall:
    """Split and check a request's body; raises ApiError with the field to change as `param`."""
    fields = _validated(body)
    name, alias_n = _resolve(fields.model, settings)
    n = 1 if fields.n is None else fields.n
    _in_limits("n", n, settings.max_best_of)
    for refused in ENGINE_FIELDS:
        if body.get(refused) is not None:
            raise ApiError(f"{refused} is not supported; leave it out.", param=refused)
    scaling = _scaling(fields, alias_n)
    if scaling is not None:
        _check_scaling(scaling, n, fields, body, settings)
    vision, video = seen_as(fields, settings)
    rest = {key: value for key, value in body.items() if key not in OUR_FIELDS}
    answer = fields.max_tokens if fields.max_completion_tokens is None else fields.max_completion_tokens
    # The processor keeps that many positions of the trained window free, and with "auto" chooses delta by it.
    room = {} if answer is None else {"v2pe_max_tokens": answer}
    rest |= {"model": name, "mm_processor_kwargs": {**vision, **room} or None}
    return ChatCall(
        body=rest,
        stream=bool(fields.stream),
        n=n,
        seed=fields.seed,
        scaling=scaling,
        vision=vision,
        video=video,
    )


def validation_error(error: ValidationError) -> ApiError:
    """The first complaint of pydantic's, worded for a client."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = _place(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if where and not message.startswith(where):
        message = f"{where}: {message}"
    return ApiError(message if message.endswith((".", ")")) else f"{message}.", param=where or None)


def _place(location: Sequence[int | str]) -> str:
    """messages[0].content out of pydantic's path, which also names the types it tried."""
    place = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part.isidentifier() and part.islower() and part not in TYPE_NAMES:
            place += f".{part}" if place else part
    return place


def seen_as(fields: Question, settings: Settings) -> tuple[dict[str, Any], VideoWish]:
    """How a question's media are seen (mm_processor_kwargs), and what is taken of its videos; raises
    ApiError.
    """
    media = fields.media_io_kwargs
    video = VideoFields() if media is None else media.video or VideoFields()
    vision = _vision(fields)
    if video.timestamps:
        vision["video_timestamps"] = True
    return vision, _video(video, settings)


def _validated(body: Mapping[str, Any]) -> ChatFields:
    try:
        return ChatFields.model_validate(body)
    except ValidationError as error:
        raise validation_error(error) from None


def _resolve(model: str | None, settings: Settings) -> tuple[str, int | None]:
    """The served name, and N where the request asks for the alias NAME:boN."""
    name = settings.served_name
    if model is None or model == name:
        return name, None
    match = ALIAS.fullmatch(model)
    if match is None or match["name"] != name:
        raise model_not_found(model, served_models(settings))
    _in_limits("model", int(match["n"]), settings.max_best_of)
    return name, int(match["n"])


def served_models(settings: Settings) -> tuple[str, ...]:
    """Names that /v1/models lists; the alias only where a critic can choose."""
    name = settings.served_name
    return (name,) if settings.critic_path is None else (name, f"{name}:bo{min(8, settings.max_best_of)}")


def _in_limits(param: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        what = "the N of NAME:boN" if param == "model" else param
        raise ApiError(f"{what} must be between 1 and {most}, not {value}.", param=param)


def _scaling(fields: ChatFields, alias_n: int | None) -> Scaling | None:
    """What the fields ask for, else what the alias does. One candidate by shorthand is a plain generation."""
    if fields.best_of is not None and fields.test_time_scaling is not None:
        raise ApiError("best_of is short for test_time_scaling; send one of them.", param="best_of")
    if fields.test_time_scaling is not None:
        return None if fields.test_time_scaling.method == "none" else fields.test_time_scaling
    n = alias_n if fields.best_of is None else fields.best_of
    return None if n is None or n == 1 else Scaling(n=n)


def _check_scaling(
    scaling: Scaling, n: int, fields: ChatFields, body: Mapping[str, Any], settings: Settings
) -> None:
    param = "best_of" if fields.test_time_scaling is None else "test_time_scaling.n"
    _in_limits(param, scaling.n, settings.max_best_of)
    if n > scaling.n:
        raise ApiError(f"n must not be above best_of: {n} answers of {scaling.n} candidates.", param="n")
    if body.get("use_beam_search"):
        raise ApiError("use_beam_search and best_of exclude each other; send one.", param="use_beam_search")
    for name, misuse in _misused(scaling, n):
        raise ApiError(misuse, param=f"test_time_scaling.{name}")
    if scaling.by_critic and settings.critic_path is None:
        raise ApiError(
            "This server runs without a critic. Send test_time_scaling with method self_consistency.",
            param="test_time_scaling.method",
        )


def _misused(scaling: Scaling, n: int) -> Iterator[tuple[str, str]]:
    """Fields that the method can't honour, and what to do about each."""
    beams = scaling.method == "beam_search"
    if not scaling.by_critic:
        if scaling.stop_score is not None:
            yield "stop_score", "stop_score needs a critic's scores. Send stop_agreement, or another method."
        if scaling.abandon_losers:
            yield (
                "abandon_losers",
                "abandon_losers needs a critic's scores. Leave it out, or send another method.",
            )
    if scaling.beam_width is not None and not beams:
        yield "beam_width", "beam_width is beam_search's. Send method beam_search, or leave it out."
    if not beams:
        return
    if scaling.width > scaling.n:
        yield (
            "beam_width",
            f"beam_width must not be above n: {scaling.width} beams of {scaling.n} continuations.",
        )
    if n > scaling.width:
        yield (
            "beam_width",
            f"A search for {scaling.width} answers can't return {n}. Send a beam_width of {n}.",
        )
    for name in ("stop_agreement", "max_parallel"):
        if getattr(scaling, name) is not None:
            yield name, f"{name} has no meaning for beam_search. Leave it out, or send another method."
    if scaling.abandon_losers:
        yield "abandon_losers", "beam_search drops losers anyway. Leave abandon_losers out."


def _video(fields: VideoFields, settings: Settings) -> VideoWish:
    """What to take of a video. The published 32 frames where neither a number nor a rate is sent."""
    asked = fields.num_frames
    if asked is None and fields.fps is None:
        asked = DEFAULT_FRAMES
    frames = None if asked is None else min(asked, settings.max_frames)
    return VideoWish(
        frames=FrameRequest(num_frames=frames, fps=fields.fps, mode=fields.mode),
        max_tiles=fields.max_dynamic_patch,
    )


def _vision(fields: Question) -> dict[str, Any]:
    nested = fields.mm_processor_kwargs or Vision()
    chosen: dict[str, Any] = {}
    for name in VISION_FIELDS:
        outer, inner = getattr(fields, name), getattr(nested, name)
        if outer is not None and inner is not None and outer != inner:
            raise ApiError(f"{name} is sent twice with different values; send it once.", param=name)
        value = inner if outer is None else outer
        if value is not None:
            chosen[name] = value
    return chosen
