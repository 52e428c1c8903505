"""The fields of a request to OpenAI's Responses API: which ones are answered, left out and refused.

A test compares the lists with vLLM's request type and names each field that they lack.
"""

from collections.abc import Mapping
from typing import Any

from .chat_call import OUR_FIELDS as CHAT_FIELDS
from .engine_fields import REFUSED, FieldRules, check_tool_count, engine_fields

OUR_FIELDS = CHAT_FIELDS
# They say how a reply is stored, billed or found again, which has no meaning here; the reply repeats some.
WITHOUT_EFFECT = frozenset(["store", "service_tier", "prompt_cache_key", "max_tool_calls"])
SAME_AS_CHAT = (  # fields with the same name and meaning in a chat request
    "model",
    "logit_bias",
    "parallel_tool_calls",
    "include_reasoning",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "user",
    "skip_special_tokens",
    "include_stop_str_in_output",
    "presence_penalty",
    "frequency_penalty",
    "watermarking",
    "request_id",
    "mm_processor_kwargs",
    "cache_salt",
    "structured_outputs",
    "repetition_penalty",
    "seed",
    "stop",
    "stop_token_ids",
    "ignore_eos",
    "chat_template_kwargs",
)
RULES = FieldRules(
    passed=WITHOUT_EFFECT
    | frozenset(SAME_AS_CHAT)
    | frozenset(
        [
            "include",
            "input",
            "instructions",
            "max_output_tokens",
            "metadata",
            "reasoning",
            "text",
            "tool_choice",
            "tools",
            "top_logprobs",
            "truncation",
        ]
    ),
    # Nothing is stored, so there is nothing to go on from, and no reply that could be fetched later.
    refused=(REFUSED - {"routed_experts_prompt_start", "stream_interval"})
    | {
        "background",
        "previous_response_id",
        "conversation",
        "prompt",
        "enable_response_messages",
        "previous_input_messages",
    },
)
CHAT_NAMES = {  # the names of fields here by those in a chat request, for errors; longer names come first
    "response_format.json_schema.schema": "text.format.schema",
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "messages": "input",
}


def response_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request that are answered, our own included. Raises ApiError for others."""
    tools = body.get("tools")
    if isinstance(tools, list):
        inner = [tool.get("tools") for tool in tools if isinstance(tool, Mapping)]  # those of namespaces
        check_tool_count(len(tools) + sum(len(each) for each in inner if isinstance(each, list)))
    ours = {name: body[name] for name in OUR_FIELDS if name in body}
    return {**engine_fields(body, OUR_FIELDS, RULES), **ours}
