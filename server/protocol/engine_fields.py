"""Pass only the listed fields of a request on to vLLM, and refuse fields that look misspelt.

With a list no new field of vLLM gets in unseen. A test compares the lists with vLLM's request type and names
each field that they lack.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from server.errors import UNKNOWN_FIELD, ApiError

WORD = re.compile(r"[a-z_]+")
MAX_TOOLS = 128  # as OpenAI's API allows
MAX_FIELDS = 256  # each unknown one is compared with ours, which takes up to 0.1 ms
PASSED = frozenset(
    [
        "messages",
        "model",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "presence_penalty",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "tools",
        "tool_choice",
        "reasoning_effort",
        "thinking_token_budget",
        "include_reasoning",
        "parallel_tool_calls",
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
        "prompt_logprobs",
        "logprob_token_ids",
        "allowed_token_ids",
        "bad_words",
        "echo",
        "add_generation_prompt",
        "continue_final_message",
        "add_special_tokens",
        "documents",
        "chat_template",
        "chat_template_kwargs",
        "mm_processor_kwargs",
        "structured_outputs",
        "request_id",
        "return_tokens_as_token_ids",
        "return_token_ids",
        "return_token_offsets",
        "return_prompt_text",
        "cache_salt",
        "repetition_detection",
    ]
)
REPLACED = {"functions": "tools", "function_call": "tool_choice"}  # OpenAI's old names; vLLM ignores them
# These steer the engine's inside: caches of other requests, the order of the queue, its plugins.
REFUSED = frozenset(
    [
        "kv_transfer_params",
        "ec_transfer_params",
        "vllm_xargs",
        "priority",
        "session_id",
        "mm_payload",
        "return_mm_kwargs",
        "routed_experts_prompt_start",
        "stream_interval",
    ]
)


@dataclass(frozen=True, kw_only=True)
class FieldRules:
    """What happens to the fields of one kind of request."""

    passed: frozenset[str]  # the engine gets them
    refused: frozenset[str]  # they may not be set
    replaced: Mapping[str, str] = field(default_factory=dict)  # old names that are refused, with the new ones


CHAT = FieldRules(passed=PASSED, refused=REFUSED, replaced=REPLACED)


def engine_fields(
    body: Mapping[str, Any], our_fields: Iterable[str], rules: FieldRules = CHAT
) -> dict[str, Any]:
    """Return the fields of a request that the engine gets.

    A field that nobody knows is left out, as vLLM ignores it.

    Raises:
        ApiError: 400, if a field is refused or has a newer name, if one is unknown and its name is nearly
            that of a field of ours, or if there are more fields than `MAX_FIELDS` or more tools than
            `MAX_TOOLS`.
    """
    if len(body) > MAX_FIELDS:
        raise ApiError(
            f"A request may hold {MAX_FIELDS} fields, not {len(body)}. Send fewer.", code="too_many_fields"
        )
    ours = tuple(our_fields)
    for name, value in body.items():
        if name in rules.replaced and value not in (None, [], "none"):
            raise ApiError(
                f"{name} is not supported. Send {rules.replaced[name]}.",
                param=name,
                code="unsupported_parameter",
            )
        if name in rules.refused and value:
            raise ApiError(
                f"{name} is not supported. Leave it out.", param=name, code="unsupported_parameter"
            )
        if name not in rules.passed and name not in rules.refused and name not in ours:
            nearest = get_close_matches(_plain(name[:100]), map(_plain, ours), n=1, cutoff=0.8)
            if nearest:
                meant = next(known for known in ours if _plain(known) == nearest[0])
                raise ApiError(
                    f"There is no field {name[:100]}. Did you mean {meant}?",
                    param=name[:100],
                    code=UNKNOWN_FIELD,
                )
    tools = body.get("tools")
    if isinstance(tools, list):
        check_tool_count(len(tools))
    return {name: value for name, value in body.items() if name in rules.passed and name not in ours}


def check_tool_count(count: int) -> None:
    """Raise ApiError (400) if a request has more tools than `MAX_TOOLS`."""
    if count > MAX_TOOLS:
        raise ApiError(
            f"A request may hold {MAX_TOOLS} tools, not {count}. Send fewer.",
            param="tools",
            code="too_many_tools",
        )


def named_field(message: str) -> str | None:
    """Return the field that an error message of vLLM's is about, or None if it names none.

    Fields such as `stop` and `model` are ordinary words, too. So a field counts if the message begins with
    it, has it in backticks or before an equals sign, or if its name holds an underscore.
    """
    if "structured outputs" in message:
        return "structured_outputs"
    if message.startswith("Chat template"):
        return "chat_template"
    for match in WORD.finditer(message):
        word, before, after = match[0], message[: match.start()][-1:], message[match.end() :][:1]
        marked = match.start() == 0 or "_" in word or before == "`" or after == "="
        if marked and (word in PASSED or word.startswith(("v2pe_", "max_dynamic_patch"))):
            return word
    return None


def _plain(name: str) -> str:
    """Return a field's name without what spellings differ in: case, underscores and hyphens."""
    return name.lower().replace("_", "").replace("-", "")
