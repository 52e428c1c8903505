"""What this server adds to OpenAI's chat request and reply. The rest of both is vLLM's own protocol,
untouched.
 A request's body splits in two: our fields become a `ChatCall`; everything else stays a plain OpenAI body
that the engine validates with vLLM's types. So no field of vLLM's is restated here, and this file needs no
engine.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ttscaling.types import Aggregation, OnCriticError

from .errors import ApiError, model_not_found
from .settings import Settings

ALIAS = re.compile(r"(?P<name>.+):bo(?P<n>\d{1,9})")  # NAME:bo8, for clients that can't send extra fields
VISION_FIELDS = ("v2pe_delta", "max_dynamic_patch", "min_dynamic_patch")
OUR_FIELDS = ("best_of", "test_time_scaling", *VISION_FIELDS)
ENGINE_FIELDS = ("kv_transfer_params", "ec_transfer_params", "media_io_kwargs")  # of vLLM's, not for clients


class Scaling(BaseModel):
    """The request's `test_time_scaling`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    method: Literal["best_of_n", "self_consistency"] = "best_of_n"
    n: int = 8
    aggregation: Aggregation = "mean"
    include_greedy: bool = True
    on_critic_error: OnCriticError = "self_consistency"
    return_candidates: bool = False


class Vision(BaseModel):
    """How images are seen: accepted at the top level and, as vLLM spells it, in `mm_processor_kwargs`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    v2pe_delta: float | None = None
    max_dynamic_patch: int | None = Field(default=None, ge=1)
    min_dynamic_patch: int | None = Field(default=None, ge=1)

    @field_validator("v2pe_delta", mode="before")
    @classmethod
    def _in_range(cls, value: Any) -> Any:
        if value is None or (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
        ):
            return value
        raise ValueError(f"must be a number above 0 and at most 1, such as 0.25, not {str(value)[:40]!r}")

    @model_validator(mode="after")
    def _ordered(self) -> "Vision":
        if (
            self.min_dynamic_patch
            and self.max_dynamic_patch
            and self.min_dynamic_patch > self.max_dynamic_patch
        ):
            raise ValueError("min_dynamic_patch must not be above max_dynamic_patch")
        return self


class ChatFields(Vision):
    """The fields of a chat request that decide what happens before the engine sees it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    messages: list[dict[str, Any]] = Field(min_length=1)
    model: str | None = None
    n: int | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    best_of: int | None = None
    test_time_scaling: Scaling | None = None
    mm_processor_kwargs: Vision | None = None


@dataclass(frozen=True, kw_only=True)
class ChatCall:
    """One chat request, checked as far as possible without the engine."""

    body: Mapping[
        str, Any
    ]  # OpenAI's and vLLM's fields; `model` is a served name, its media not yet looked at
    stream: bool
    n: int  # choices to return
    seed: int | None
    scaling: Scaling | None  # None: one plain generation
    vision: Mapping[str, Any]  # what of VISION_FIELDS the caller chose, clamped to the server's maxima

    def with_messages(self, messages: Sequence[Mapping[str, Any]]) -> "ChatCall":
        """The call about other messages: the same ones, their media checked."""
        return replace(self, body={**self.body, "messages": list(messages)})


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
        _in_limits(
            "best_of" if fields.test_time_scaling is None else "test_time_scaling.n",
            scaling.n,
            settings.max_best_of,
        )
        if n > scaling.n:
            raise ApiError(f"n must not be above best_of: {n} answers of {scaling.n} candidates.", param="n")
        if body.get("use_beam_search"):
            raise ApiError(
                "use_beam_search and best_of exclude each other; send one.", param="use_beam_search"
            )
        if scaling.method == "best_of_n" and settings.critic_path is None:
            raise ApiError(
                "This server runs without a critic. Send test_time_scaling with method self_consistency.",
                param="test_time_scaling.method",
            )
    vision = _vision(fields, settings)
    rest = {key: value for key, value in body.items() if key not in OUR_FIELDS}
    rest |= {"model": name, "mm_processor_kwargs": vision or None}
    return ChatCall(
        body=rest, stream=bool(fields.stream), n=n, seed=fields.seed, scaling=scaling, vision=vision
    )


def validation_error(error: ValidationError) -> ApiError:
    """The first complaint of pydantic's, worded for a client."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(f"{where}: {message}." if where else f"{message}.", param=where or None)


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
        return fields.test_time_scaling
    n = alias_n if fields.best_of is None else fields.best_of
    return None if n is None or n == 1 else Scaling(n=n)


def _vision(fields: ChatFields, settings: Settings) -> Mapping[str, Any]:
    nested = fields.mm_processor_kwargs or Vision()
    chosen: dict[str, Any] = {}
    for name in VISION_FIELDS:
        outer, inner = getattr(fields, name), getattr(nested, name)
        if outer is not None and inner is not None and outer != inner:
            raise ApiError(f"{name} is sent twice with different values; send it once.", param=name)
        value = inner if outer is None else outer
        if value is not None:
            chosen[name] = value if name == "v2pe_delta" else min(value, settings.max_tiles)
    return chosen


class CandidateReport(BaseModel):
    """One candidate, in the reply's `test_time_scaling.candidates`."""

    index: int
    score: float | None
    step_scores: list[float] | None
    finish_reason: str | None
    completion_tokens: int
    text: str | None = None
    steps: list[str] | None = None


class PolicyUsage(BaseModel):
    prompt: int
    cached: int
    completion: int


class CriticUsage(BaseModel):
    prompt: int
    cached: int


class ScalingUsage(BaseModel):
    """Tokens through each model, every candidate's prompt counted; `cached` of them were found in a prefix
    cache.
    """

    policy: PolicyUsage
    critic: CriticUsage


class ScalingReport(BaseModel):
    """The reply's `test_time_scaling`."""

    method: str
    selected: int
    critic: str | None
    aggregation: str | None
    seed: int  # of the request, or the one chosen for it: sending it again repeats the candidates
    stopped: str | None
    degraded: str | None
    candidates: list[CandidateReport]
    usage: ScalingUsage
