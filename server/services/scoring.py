"""`/v1/critic/score`: a question and answers in, the critic's score of every step out.

A fault of one answer stands in its place, and of one input of a batch in its; only where nothing could be
scored does the request fail.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from server.engine_interface import Engine
from server.errors import ApiError, field_error, model_not_found, stopped
from server.protocol.request_fields import QuestionFields
from server.protocol.vision_options import parse_vision_options
from ttscaling.selection.aggregation import aggregate
from ttscaling.steps import split_steps
from ttscaling.types import Aggregation, Conversation, StepScores

from .context import ServerContext, check_critic_tiles

ROLES = ("system", "developer", "user", "assistant", "tool")


class ScoreRequest(QuestionFields):
    """One question and its answers: a body of the endpoint, or an entry of its `inputs`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    answers: list[str | list[str]] = Field(min_length=1)  # a list is an answer's steps, as they are
    aggregation: Aggregation = "mean"
    model: str | None = None

    @field_validator("messages")
    @classmethod
    def _has_a_question(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        roles = [message.get("role") for message in messages]
        for index, role in enumerate(roles):
            if role not in ROLES:
                raise ValueError(f"messages[{index}].role must be one of {', '.join(ROLES)}, not {role!r}")
        if "user" not in roles:
            raise ValueError("messages has no user message: there is no question to judge answers to")
        return messages


class ScoreBatchRequest(BaseModel):
    """The body of a batch."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    inputs: list[ScoreRequest] = Field(min_length=1)
    model: str | None = None


async def score(engine: Engine, body: Mapping[str, Any], state: ServerContext) -> dict[str, Any]:
    """The reply to a body or a batch; raises ApiError."""
    critic = _critic(engine)
    try:
        batch = ScoreBatchRequest.model_validate(body) if "inputs" in body else None
        questions = [ScoreRequest.model_validate(body)] if batch is None else batch.inputs
    except ValidationError as error:
        raise field_error(error) from None
    for name in [question.model for question in questions] + ([batch.model] if batch else []):
        if name not in (None, critic):
            raise model_not_found(name, (critic,))
    count, most = sum(len(question.answers) for question in questions), state.settings.max_answers
    if count > most:
        raise ApiError(f"A request may hold {most} answers, not {count}. Send several.", param="answers")
    if batch is None:
        return await _scored(engine, questions[0], critic, state)
    outcomes = await asyncio.gather(*(_outcome(engine, question, critic, state) for question in questions))
    failures = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    if len(failures) == len(outcomes):
        raise failures[0]
    data = [
        {"index": index, **(outcome.body if isinstance(outcome, ApiError) else outcome)}
        for index, outcome in enumerate(outcomes)
    ]
    return {"object": "list", "data": data}


def _critic(engine: Engine) -> str:
    """The name of the critic, if there is one that can score."""
    if engine.critic is None:
        raise ApiError(
            "This server runs without a critic. Start it with --critic CHECKPOINT.",
            status=404,
            code="no_critic",
        )
    if not engine.critic_alive:
        raise stopped()
    return engine.critic.name


async def _outcome(
    engine: Engine, judged: ScoreRequest, critic: str, state: ServerContext
) -> dict[str, Any] | ApiError:
    try:
        return await _scored(engine, judged, critic, state)
    except ApiError as error:
        return error


async def _scored(engine: Engine, judged: ScoreRequest, critic: str, state: ServerContext) -> dict[str, Any]:
    """The scores of one question's answers; raises ApiError where none could be scored."""
    vision, wish = parse_vision_options(judged, state.settings)
    with state.metrics.media_seconds.time():
        messages, videos = await state.media.load(judged.messages, wish, engine.tiling)
    check_critic_tiles(engine, videos, remedy="Send images.", param="messages")
    steps = [split_steps(answer) if isinstance(answer, str) else tuple(answer) for answer in judged.answers]
    empty = {index for index, own in enumerate(steps) if not "".join(own).strip()}
    conversation = Conversation(messages=messages, mm_processor_kwargs=vision)
    scored = iter(
        await engine.score(
            conversation,
            [own for index, own in enumerate(steps) if index not in empty],
            videos=videos,
        )
    )
    outcomes = [_empty(index) if index in empty else next(scored) for index in range(len(steps))]
    failures = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    if len(failures) == len(outcomes):
        raise failures[0]
    return {
        "object": "critic.score",
        "model": critic,
        "scores": [_entry(index, outcome, judged.aggregation) for index, outcome in enumerate(outcomes)],
        "usage": _usage([outcome for outcome in outcomes if isinstance(outcome, StepScores)]),
    }


def _empty(index: int) -> ApiError:
    return ApiError(f"answers[{index}] is empty: there is no step to judge.", param=f"answers[{index}]")


def _entry(index: int, outcome: StepScores | ApiError, how: Aggregation) -> dict[str, Any]:
    if isinstance(outcome, ApiError):
        return {"index": index, **outcome.body}
    return {
        "index": index,
        "score": aggregate(outcome.scores, how),
        "steps": list(outcome.steps),
        "step_scores": list(outcome.scores),
        "usage": _usage([outcome]),
    }


def _usage(scored: Sequence[StepScores]) -> dict[str, int]:
    """Tokens that the critic's engine was asked for; none for scores that it remembered."""
    return {
        "prompt_tokens": sum(scores.prompt_tokens for scores in scored),
        "cached_tokens": sum(scores.cached_tokens for scores in scored),
    }
