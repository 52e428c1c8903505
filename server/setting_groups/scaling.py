"""The settings of test-time scaling: how much of it a request may ask for, and how the critic scores."""

from typing import Literal

from pydantic import Field

from ttscaling.types import OnCriticError

from .group import SettingsGroup

CriticDelta = Literal["own", "request"]


class ScalingSettings(SettingsGroup):
    """Candidates, and the answers that the critic scores."""

    title = "Test-time scaling"

    max_best_of: int = Field(default=64, ge=1, description="Most candidates that one request may ask for.")
    max_answers: int = Field(
        default=256,
        ge=1,
        description="Most answers in one request to `/v1/critic/score`, and most completions in one to "
        "`/v1/completions`.",
    )
    max_answer_steps: int = Field(
        default=512,
        ge=1,
        description="Most steps of one answer that the critic scores; an answer with more gets no score.",
    )
    max_request_steps: int = Field(
        default=32_768, ge=1, description="Most steps of all answers in one request to `/v1/critic/score`."
    )
    max_request_characters: int = Field(
        default=64_000_000,
        ge=1,
        description="Most characters in one request to `/v1/critic/score`: those of its answers, "
        "and those of the question once for each answer.",
    )
    critic_delta: CriticDelta = Field(
        default="own",
        description="Delta of V2PE with which the critic sees the images of candidates: its `own`, as long "
        "as they fit its window so, or that of the `request`.",
    )
    critic_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Seconds in which the critic returns no score for any answer; then scoring has failed.",
    )
    on_critic_error: OnCriticError = Field(
        default="self_consistency",
        description="What happens if the critic can score no candidate, for requests that don't say it.",
    )
