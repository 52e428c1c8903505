"""A chat request's body taken apart: our fields become a `ChatCall`, the rest stays a plain OpenAI body.

The engine validates that rest with vLLM's own types.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from server.errors import ApiError, field_error, model_not_found
from server.request_media import VideoOptions, Videos
from server.settings import Settings

from .request_fields import ChatFields, ScalingFields
from .scaling_rules import check_limits, check_scaling, requested_scaling
from .vision_options import VISION_FIELDS, parse_vision_options

ALIAS = re.compile(r"(?P<name>.+):bo(?P<n>\d{1,9})")  # NAME:bo8, for clients that can't send extra fields
OUR_FIELDS = ("best_of", "test_time_scaling", "media_io_kwargs", *VISION_FIELDS)
ENGINE_FIELDS = ("kv_transfer_params", "ec_transfer_params")  # vLLM's, not for clients


@dataclass(frozen=True, kw_only=True)
class ChatCall:
    """One chat request, checked as far as possible without the engine."""

    body: Mapping[str, Any]  # OpenAI's and vLLM's fields; `model` is a served name
    stream: bool
    n: int  # choices to return
    seed: int | None
    scaling: ScalingFields | None  # None: one plain generation
    vision: Mapping[str, Any]  # mm_processor_kwargs: what the caller chose of how images are seen
    video: VideoOptions
    videos: Videos = field(default_factory=dict)  # those of the messages, decoded

    def with_media(self, messages: Sequence[Mapping[str, Any]], videos: Videos) -> "ChatCall":
        """The call about other messages: the same ones, their media checked and decoded."""
        return replace(self, body={**self.body, "messages": list(messages)}, videos=videos)


def parse_call(body: Mapping[str, Any], settings: Settings) -> ChatCall:
    """Split and check a request's body; raises ApiError with the field to change as `param`."""
    fields = _validated(body)
    name, alias_n = _resolve(fields.model, settings)
    n = 1 if fields.n is None else fields.n
    check_limits("n", n, settings.max_best_of)
    for refused in ENGINE_FIELDS:
        if body.get(refused) is not None:
            raise ApiError(f"{refused} is not supported; leave it out.", param=refused)
    scaling = requested_scaling(fields, alias_n)
    if scaling is not None:
        check_scaling(scaling, n, fields, body, settings)
    vision, video = parse_vision_options(fields, settings)
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


def _validated(body: Mapping[str, Any]) -> ChatFields:
    try:
        return ChatFields.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from None


def _resolve(model: str | None, settings: Settings) -> tuple[str, int | None]:
    """The served name, and N where the request asks for the alias NAME:boN."""
    name = settings.served_name
    if model is None or model == name:
        return name, None
    match = ALIAS.fullmatch(model)
    if match is None or match["name"] != name:
        raise model_not_found(model, served_models(settings))
    check_limits("model", int(match["n"]), settings.max_best_of)
    return name, int(match["n"])


def served_models(settings: Settings) -> tuple[str, ...]:
    """Names that /v1/models lists; the alias only where a critic can choose."""
    name = settings.served_name
    return (name,) if settings.critic_path is None else (name, f"{name}:bo{min(8, settings.max_best_of)}")
