"""The fields that this server adds to OpenAI's chat request.

OpenAI's and vLLM's fields are vLLM's to define. The few that are repeated here decide what happens before the
engine gets the request.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from model.v2pe import parse_deltas
from ttscaling.types import Aggregation, OnCriticError

from .video_fields import VideoFields

ROLES = ("system", "developer", "user", "assistant", "tool")


class ScalingFields(BaseModel):
    """The request's `test_time_scaling`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    method: Literal["best_of_n", "weighted_vote", "self_consistency", "beam_search", "none"] = "best_of_n"
    n: int = 8  # candidates; in a beam search, continuations written at each step
    beam_width: int | None = Field(default=None, ge=1)
    aggregation: Aggregation | None = None
    include_greedy: bool = True
    on_critic_error: OnCriticError = "self_consistency"
    return_candidates: bool = False
    stop_score: float | None = Field(default=None, ge=0, le=1)
    stop_agreement: float | None = Field(default=None, gt=0.5, lt=1)
    max_tokens_total: int | None = Field(default=None, ge=1)
    max_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_parallel: int | None = Field(default=None, ge=1)
    abandon_losers: bool = False
    max_steps: int | None = Field(default=None, ge=1)

    @property
    def by_critic(self) -> bool:
        """Whether the method chooses by a critic's scores."""
        return self.method != "self_consistency"

    @property
    def step_aggregation(self) -> Aggregation:
        """How step scores become a candidate's score. The default is the method's own."""
        return self.aggregation or ("min" if self.method == "weighted_vote" else "mean")

    @property
    def width(self) -> int:
        """Number of beams that a beam search keeps."""
        return max(1, self.n // 4) if self.beam_width is None else self.beam_width


class VisionFields(BaseModel):
    """How images are seen. The fields stand at the top level or in vLLM's `mm_processor_kwargs`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    v2pe_delta: Any = None  # a number, "auto", or a list with a number for each image and video
    max_dynamic_patch: int | None = Field(default=None, ge=1)
    min_dynamic_patch: int | None = Field(default=None, ge=1)
    max_dynamic_patch_total: int | None = Field(default=None, ge=1)  # of all images together

    @field_validator("v2pe_delta")
    @classmethod
    def _delta(cls, value: Any) -> Any:
        return None if value is None else parse_deltas(value)

    @model_validator(mode="after")
    def _ordered(self) -> "VisionFields":
        if (
            self.min_dynamic_patch
            and self.max_dynamic_patch
            and self.min_dynamic_patch > self.max_dynamic_patch
        ):
            raise ValueError("min_dynamic_patch must not be above max_dynamic_patch")
        return self


class MediaFields(BaseModel):
    """The request's `media_io_kwargs`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    video: VideoFields | None = None


def _complete(message: dict[str, Any]) -> dict[str, Any]:
    """Check what every message must have; vLLM would invent a role or ask an empty question."""
    role = message.get("role")
    if "role" not in message:
        raise PydanticCustomError(
            "missing", "role is missing; it is one of {roles}", {"roles": ", ".join(ROLES)}
        )
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}, not {str(role)[:40]!r}")
    if role != "assistant" and message.get("content") in (None, []):
        raise PydanticCustomError("missing", "content is missing; send a text or a list of parts")
    return message


class QuestionFields(VisionFields):
    """The messages of a request, and how their images and videos are seen."""

    # Only the first bad message is reported, and 200,000 errors would take a second to list.
    messages: list[Annotated[dict[str, Any], AfterValidator(_complete)]] = Field(min_length=1, fail_fast=True)
    mm_processor_kwargs: VisionFields | None = None
    media_io_kwargs: MediaFields | None = None


class ChatFields(QuestionFields):
    """The fields of a chat request that decide what happens before the engine sees it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model: str | None = None
    n: int | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    truncate_prompt_tokens: int | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1)
    best_of: int | None = None
    test_time_scaling: ScalingFields | None = None

    @field_validator("truncate_prompt_tokens")
    @classmethod
    def _leaves_a_prompt(cls, value: int | None) -> int | None:
        if value is not None and value < 1 and value != -1:
            raise ValueError("truncate_prompt_tokens must be at least 1, or -1 for the whole window")
        return value
