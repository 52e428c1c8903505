"""Score the answers of a request to `/v1/critic/score`, step by step.

An answer that can't be scored has an error in place of its scores, and so has such an input of a batch. The
request fails only if nothing could be scored. An answer with too many steps fails its whole question.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from server.access.principal import Principal
from server.engine_interface import Engines
from server.errors import ApiError, field_error, model_not_found, too_many_steps
from server.media.budget import Budget
from server.media.stored import StoredMedium
from server.media.transfer import STORED, stored_names
from server.protocol.prompt_rules import characters_of_texts
from server.protocol.request_fields import QuestionFields
from server.protocol.vision_options import parse_vision_options
from server.protocol.weight import scoring_weight
from server.telemetry.request_record import current_record
from ttscaling.selection.aggregation import aggregate
from ttscaling.steps import split_steps
from ttscaling.types import Aggregation, Conversation, StepScores, TokenUsage

from .context import ServerContext, check_critic_tiles, living_critic
from .critic_service import media_owner
from .uploaded_files import file_opener

Steps = Annotated[list[str], Field(fail_fast=True)]  # of an answer


class ScoreRequest(QuestionFields):
    """A question and its answers, as the body of a request or as an entry of its `inputs`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    answers: list[str | Steps] = Field(min_length=1, fail_fast=True)
    aggregation: Aggregation = "mean"
    model: str | None = None
    cache_salt: str | None = Field(default=None, min_length=1)
    score_empty: bool = False  # also an answer without any text, so that the critic reads the question ahead

    @field_validator("messages")
    @classmethod
    def _has_a_question(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if all(message["role"] != "user" for message in messages):
            raise ValueError("messages has no user message. Add the question that the answers are for")
        return messages


class ScoreBatchRequest(BaseModel):
    """Several questions in one request."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    inputs: list[ScoreRequest] = Field(min_length=1, fail_fast=True)
    model: str | None = None


async def score(
    context: ServerContext, engines: Engines, principal: Principal, body: Mapping[str, Any], budget: Budget
) -> dict[str, Any]:
    """Return the reply to a body with one question or with several; raises ApiError.

    `principal` sends the request, and `budget` is what it may use, with all its inputs.
    """
    critic = living_critic(engines).name
    try:
        batch = ScoreBatchRequest.model_validate(body) if "inputs" in body else None
        questions = [ScoreRequest.model_validate(body)] if batch is None else batch.inputs
    except ValidationError as error:
        raise field_error(error) from None
    for name in [question.model for question in questions] + ([batch.model] if batch else []):
        if name not in (None, critic):
            raise model_not_found(name, (critic,))
    count, most = sum(len(question.answers) for question in questions), principal.settings.max_answers
    if count > most:
        raise ApiError(
            f"A request may hold {most} answers, not {count}. Send several requests.",
            param="answers",
            code="too_many_answers",
        )
    if batch is None:  # a client that must send media first learns it before its turn comes
        _stored(context, principal, questions[0])
    current_record().model = critic
    weights = (scoring_weight(each.messages, _characters(each), engines.max_model_len) for each in questions)
    await budget.ticket.take(sum(weights), principal.name)
    if batch is None:
        return await _score_question(context, engines, principal, questions[0], critic, budget)
    async with asyncio.TaskGroup() as group:  # a bug in one input ends the others, too
        inputs = [
            group.create_task(_score_input(context, engines, principal, question, critic, budget))
            for question in questions
        ]
    outcomes = [task.result() for task in inputs]
    failures = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    if len(failures) == len(outcomes):
        raise failures[0]
    data = [
        {"index": index, **(outcome.body if isinstance(outcome, ApiError) else outcome)}
        for index, outcome in enumerate(outcomes)
    ]
    return {"object": "list", "data": data}


async def _score_input(
    context: ServerContext,
    engines: Engines,
    principal: Principal,
    question: ScoreRequest,
    critic: str,
    budget: Budget,
) -> dict[str, Any] | ApiError:
    try:
        return await _score_question(context, engines, principal, question, critic, budget)
    except ApiError as error:
        return error


def _characters(question: ScoreRequest) -> int:
    """Return the length of the answers, and of the question's texts once for each of them."""
    answers = question.answers
    of_answers = sum(len(answer) if isinstance(answer, str) else sum(map(len, answer)) for answer in answers)
    return of_answers + len(answers) * characters_of_texts(question.messages)


async def _score_question(
    context: ServerContext,
    engines: Engines,
    principal: Principal,
    question: ScoreRequest,
    critic: str,
    budget: Budget,
) -> dict[str, Any]:
    """Return the scores of one question's answers. Raises ApiError if none could be scored."""
    vision, video = parse_vision_options(question, principal.settings)
    salt = principal.cache_salt(question.cache_salt)
    budget.take("characters", _characters(question), param="answers")
    answers = _split(question.answers, most=principal.settings.max_answer_steps)
    budget.take("steps", sum(map(len, answers)), param="answers")
    messages, media = await context.media.load(
        question.messages,
        video,
        engines.tiling,
        budget,
        vision=vision,
        salt=salt,
        stored=_stored(context, principal, question),
        open_file=file_opener(context, principal),
    )
    engine = living_critic(engines)
    check_critic_tiles(engine, engines.tiling.tile_size, media, remedy="Send images.", param="messages")
    empty = {index for index, steps in enumerate(answers) if not "".join(steps).strip()}
    if question.score_empty:
        empty.clear()
    conversation = Conversation(
        messages=messages, mm_processor_kwargs=vision, cache_salt=salt, priority=budget.ticket.priority
    )
    used: list[TokenUsage] = []
    count_for_log = current_record().counting(principal.account.count)

    def count(usage: TokenUsage) -> None:
        used.append(usage)
        count_for_log(usage)

    scored = iter(
        await engine.score_answers(
            conversation,
            [steps for index, steps in enumerate(answers) if index not in empty],
            media=media,
            count=count,
        )
    )
    outcomes = [_empty(index) if index in empty else next(scored) for index in range(len(answers))]
    failures = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    context.metrics.selections.count_scores(scored=len(outcomes) - len(failures), failed=len(failures))
    if len(failures) == len(outcomes):
        raise failures[0]
    return {
        "object": "critic.score",
        "model": critic,
        "scores": [_entry(index, outcome, question.aggregation) for index, outcome in enumerate(outcomes)],
        "usage": _usage(sum(used, TokenUsage())),
    }


def _stored(
    context: ServerContext, principal: Principal, question: ScoreRequest
) -> Mapping[str, StoredMedium]:
    """Return the media that were sent before, by the URLs that name them in the question.

    Raises UnknownMedia if the server doesn't keep one of them.
    """
    owner = media_owner(principal, question.cache_salt)
    kept = context.stored_media.find(owner, stored_names(question.messages))
    return {STORED + name: medium for name, medium in kept.items()}


def _split(answers: Sequence[str | Sequence[str]], *, most: int) -> list[tuple[str, ...]]:
    """Return the steps of every answer. Raises ApiError (400) for an answer with more than `most`."""
    split = []
    for index, answer in enumerate(answers):
        steps = split_steps(answer) if isinstance(answer, str) else tuple(answer)
        if len(steps) > most:
            raise too_many_steps(len(steps), most, f"answers[{index}]")
        split.append(steps)
    return split


def _empty(index: int) -> ApiError:
    return ApiError(
        f"answers[{index}] is empty. Send an answer with at least one step.", param=f"answers[{index}]"
    )


def _entry(index: int, outcome: StepScores | ApiError, aggregation: Aggregation) -> dict[str, Any]:
    if isinstance(outcome, ApiError):
        return {"index": index, **outcome.body}
    return {
        "index": index,
        "score": aggregate(outcome.scores, aggregation),
        "steps": list(outcome.steps),
        "step_scores": list(outcome.scores),
        "usage": _usage(TokenUsage(critic_prompt=outcome.prompt_tokens, critic_cached=outcome.cached_tokens)),
    }


def _usage(used: TokenUsage) -> dict[str, int]:
    """Return the tokens that the critic's engine took; a score that the server remembers takes none."""
    return {"prompt_tokens": used.critic_prompt, "cached_tokens": used.critic_cached}
