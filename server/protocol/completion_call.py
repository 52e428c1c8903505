"""Check a request for text completions, OpenAI's older API without messages."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from server.errors import MISSING_FIELD, ApiError, field_error
from server.settings import Settings

from .chat_call import resolve_model
from .engine_call import EngineCall
from .engine_fields import REFUSED, FieldRules, engine_fields
from .scaling_rules import check_limits, refuse_scaling

OUR_FIELDS = ("best_of", "test_time_scaling")
FIELDS = FieldRules(
    passed=frozenset(
        [
            "model",
            "prompt",
            "echo",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "n",
            "presence_penalty",
            "seed",
            "stop",
            "stream",
            "stream_options",
            "suffix",
            "temperature",
            "top_p",
            "user",
            "use_beam_search",
            "top_k",
            "min_p",
            "repetition_penalty",
            "watermarking",
            "length_penalty",
            "stop_token_ids",
            "include_stop_str_in_output",
            "ignore_eos",
            "min_tokens",
            "skip_special_tokens",
            "spaces_between_special_tokens",
            "truncate_prompt_tokens",
            "truncation_side",
            "allowed_token_ids",
            "prompt_logprobs",
            "logprob_token_ids",
            "bad_words",
            "add_special_tokens",
            "response_format",
            "structured_outputs",
            "request_id",
            "return_tokens_as_token_ids",
            "return_token_ids",
            "return_token_offsets",
            "cache_salt",
            "repetition_detection",
            "thinking_token_budget",
        ]
    ),
    refused=REFUSED | {"prompt_embeds"},  # a pickle of tensors, in which images would pass every check
)


class CompletionFields(BaseModel):
    """The fields of a completion request that decide what happens before the engine sees it."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model: str | None = None
    prompt: Any = None
    n: int | None = None
    stream: bool | None = None


@dataclass(frozen=True, kw_only=True)
class CompletionCall(EngineCall):
    """A completion request."""

    prompts: Sequence[str | Sequence[int]]  # those of the body, as texts or token ids


def parse_completion(
    body: Mapping[str, Any], settings: Settings, adapters: Collection[str] = ()
) -> CompletionCall:
    """Return the call that a body asks for. Raises ApiError, whose `param` is the field to change.

    `adapters` are the names of the policy's LoRA adapters, one of which the body may name as its model.
    """
    try:
        fields = CompletionFields.model_validate(body)
    except ValidationError as error:
        raise field_error(error) from None
    name, alias_n = resolve_model(fields.model, settings, adapters)
    refuse_scaling(body, alias_n)
    n = 1 if fields.n is None else fields.n
    check_limits("n", n, settings.max_best_of)
    engine_body = engine_fields(body, OUR_FIELDS, FIELDS)
    prompts = prompts_of(fields.prompt)
    answers = n * len(prompts)
    if answers > settings.max_answers:
        raise ApiError(
            f"A request may ask for {settings.max_answers} completions, and this one asks for {answers}. "
            "Send fewer prompts, or lower n.",
            param="prompt",
            code="too_many_answers",
        )
    return CompletionCall(
        body=engine_body | {"model": name, "n": n}, stream=bool(fields.stream), prompts=prompts
    )


def prompts_of(prompt: Any) -> list[str | list[int]]:
    """Return the prompts in a request's `prompt`: a text, a list of token ids, or a list of one of these.

    Raises ApiError (400) if it is anything else, or empty.
    """
    if prompt is None:
        raise ApiError(
            "prompt is missing. Send a text, or a list of texts or token ids.",
            param="prompt",
            code=MISSING_FIELD,
        )
    if isinstance(prompt, str) or _are_token_ids(prompt):
        prompts: list[str | list[int]] = [prompt]
    elif isinstance(prompt, list) and (
        all(isinstance(text, str) for text in prompt) or all(_are_token_ids(ids) for ids in prompt)
    ):
        prompts = prompt
    else:
        raise ApiError(
            "prompt must be a text, a list of token ids, or a list of one of these.", param="prompt"
        )
    if not prompts or not all(prompts):
        raise ApiError("prompt must not be empty.", param="prompt")
    return prompts


def _are_token_ids(prompt: Any) -> bool:
    return (
        isinstance(prompt, list)
        and bool(prompt)
        and all(isinstance(token, int) and not isinstance(token, bool) and token >= 0 for token in prompt)
    )
