"""Split a chat request's body into this server's own fields, which are checked, and OpenAI's.

The engine validates OpenAI's and vLLM's fields with vLLM's own types.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from server.errors import field_error, model_not_found
from server.request_media import Media, VideoOptions
from server.setting_groups.models import ALIAS
from server.settings import Settings

from .engine_call import EngineCall
from .engine_fields import engine_fields
from .prompt_rules import check_prompt_fields
from .request_fields import ChatFields, ScalingFields
from .scaling_rules import check_abandoning, check_limits, check_plain, check_scaling, requested_scaling
from .vision_options import VISION_FIELDS, parse_vision_options

OUR_FIELDS = ("best_of", "test_time_scaling", "media_io_kwargs", *VISION_FIELDS)


@dataclass(frozen=True, kw_only=True)
class ChatCall(EngineCall):
    """A chat request."""

    n: int  # choices to return
    seed: int | None
    scaling: ScalingFields | None  # None for one plain generation
    vision: Mapping[str, Any]  # the client's mm_processor_kwargs: V2PE's delta and numbers of tiles
    video: VideoOptions
    media: Media = field(default_factory=dict)  # the decoded images and videos of the messages

    def with_media(self, messages: Sequence[Mapping[str, Any]], media: Media) -> "ChatCall":
        """Return the call with messages whose media were checked, and with these media by handle."""
        return replace(self, body={**self.body, "messages": list(messages)}, media=media)


def parse_call(body: Mapping[str, Any], settings: Settings, adapters: Collection[str] = ()) -> ChatCall:
    """Return the call that a body asks for. Raises ApiError, whose `param` is the field to change.

    `adapters` are the names of the policy's LoRA adapters, one of which the body may name as its model.
    """
    fields = _validated(body)
    name, alias_n = resolve_model(fields.model, settings, adapters)
    n = 1 if fields.n is None else fields.n
    check_limits("n", n, settings.max_best_of)
    engine_body = engine_fields(body, OUR_FIELDS)
    check_prompt_fields(fields, body)
    scaling = requested_scaling(fields, alias_n, settings.on_critic_error)
    if scaling is None:
        check_plain(n, fields, alias_n)
    else:
        check_scaling(scaling, n, fields, body, settings)
    vision, video = parse_vision_options(fields, settings)
    if scaling is not None:
        check_abandoning(scaling, vision)
    answer_tokens = (
        fields.max_tokens if fields.max_completion_tokens is None else fields.max_completion_tokens
    )
    # The processor keeps positions of the trained window free for the answer; delta "auto" depends on them.
    is_demand = answer_tokens is not None and not settings.cut_max_tokens
    room = {"v2pe_max_tokens": answer_tokens} if is_demand else {}
    engine_body |= {"model": name, "mm_processor_kwargs": {**vision, **room} or None}
    return ChatCall(
        body=engine_body,
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


def resolve_model(
    model: str | None, settings: Settings, adapters: Collection[str] = ()
) -> tuple[str, int | None]:
    """Return the name of the policy or of an adapter, and N if the request asks for the alias NAME:boN.

    Raises ApiError (404) for any other name.
    """
    names = (settings.served_name, *adapters)
    if model is None or model in names:
        return model or settings.served_name, None
    match = ALIAS.fullmatch(model)
    if match is None or match["name"] not in names:
        raise model_not_found(model, served_models(settings, adapters))
    check_limits("model", int(match["n"]), settings.max_best_of)
    return match["name"], int(match["n"])


def served_models(settings: Settings, adapters: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names that /v1/models lists: the policy, its adapters, and with a critic their aliases.

    A server without a policy lists its critic.
    """
    names = (settings.served_name, *adapters)
    if not (settings.has_policy and settings.has_critic):
        return names
    n = min(8, settings.max_best_of)
    return tuple(listed for name in names for listed in (name, f"{name}:bo{n}"))
