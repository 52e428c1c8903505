"""The fields of a request to Anthropic's Messages API: which ones are answered and refused.

A test compares the lists with vLLM's request types and names each field that they lack.
"""

from collections.abc import Collection, Mapping
from typing import Any

from server.settings import Settings

from .chat_call import resolve_model
from .engine_fields import FieldRules, engine_fields
from .scaling_rules import refuse_scaling
from .vision_options import VISION_FIELDS

OUR_FIELDS = ("best_of", "test_time_scaling", *VISION_FIELDS)
RULES = FieldRules(
    passed=frozenset(
        [
            "model",
            "messages",
            "max_tokens",
            "metadata",
            "output_config",
            "thinking",
            "stop_sequences",
            "stream",
            "system",
            "temperature",
            "tool_choice",
            "tools",
            "top_k",
            "top_p",
            "cache_salt",
            "watermarking",
            "chat_template_kwargs",
            "request_id",
        ]
    ),
    refused=frozenset(
        ["kv_transfer_params", "ec_transfer_params", "vllm_xargs", "mm_payload", "return_mm_kwargs"]
    ),
)
CHAT_NAMES = {  # the names of fields here by those in a chat request, for errors
    "max_completion_tokens": "max_tokens",
    "response_format": "output_config.format",
    "reasoning_effort": "output_config.effort",
    "thinking_token_budget": "thinking.budget_tokens",
}


def message_fields(
    body: Mapping[str, Any], settings: Settings, adapters: Collection[str] = ()
) -> dict[str, Any]:
    """Return the fields of a request that are answered, our own included.

    `adapters` are the names of the policy's LoRA adapters.

    Raises ApiError for a field that is refused, for a model that isn't served, and for test-time scaling.
    """
    fields = engine_fields(body, OUR_FIELDS, RULES)
    model = fields.get("model")
    if isinstance(model, str):  # vLLM's type refuses any other one
        name, alias_n = resolve_model(model, settings, adapters)
        refuse_scaling(body, alias_n)
        fields["model"] = name
    return fields | {name: body[name] for name in VISION_FIELDS if body.get(name) is not None}
