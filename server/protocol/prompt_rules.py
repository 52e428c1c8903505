"""Refuse requests of which vLLM would ignore a part, so that another prompt or answer came of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.errors import MISSING_FIELD, ApiError

from .request_fields import ChatFields

# The arguments of a chat template that the request itself decides, by other fields.
OWN_ARGUMENTS = ("messages", "conversation", "tools", "tokenizer", "model_config")


def check_prompt_fields(fields: ChatFields, body: Mapping[str, Any]) -> None:
    """Raise ApiError (400) for fields that contradict the prompt or that vLLM would leave out.

    Args:
        fields: the checked fields of a chat request.
        body: the whole request.
    """
    if fields.truncate_prompt_tokens not in (None, -1) and count_media(fields.messages):
        raise ApiError(
            "truncate_prompt_tokens would cut off images or videos. Leave it out, or send text alone.",
            param="truncate_prompt_tokens",
        )
    template_arguments = body.get("chat_template_kwargs")
    for name in template_arguments if isinstance(template_arguments, Mapping) else ():
        if name in OWN_ARGUMENTS:
            raise ApiError(
                f"chat_template_kwargs may not hold {name}, which the request itself decides. Leave it out.",
                param=f"chat_template_kwargs.{name}",
            )
    response_format = body.get("response_format")
    if isinstance(response_format, Mapping) and response_format.get("type") == "json_schema":
        json_schema = response_format.get("json_schema")
        if isinstance(json_schema, Mapping) and json_schema.get("schema") is None:
            raise ApiError(
                "response_format.json_schema.schema is missing. Send a schema.",
                param="response_format.json_schema.schema",
                code=MISSING_FIELD,
            )
    if body.get("use_beam_search"):
        for name in ("response_format", "structured_outputs", "tool_choice"):
            if body.get(name) not in (None, {}, {"type": "text"}, "none", "auto"):
                raise ApiError(
                    f"use_beam_search can't follow {name}. Leave one of the two out, or send best_of.",
                    param="use_beam_search",
                )


def count_media(
    messages: Sequence[Mapping[str, Any]], kinds: Sequence[str] = ("image_url", "video_url", "file")
) -> int:
    """Return the number of images and videos in the messages, or of content parts of other kinds."""
    return sum(
        isinstance(part, Mapping) and part.get("type") in kinds
        for message in messages
        for part in (message["content"] if isinstance(message.get("content"), list) else ())
    )


def characters_of_texts(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the length of all texts in the messages, which may have any shape."""
    total = 0
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = (part.get("text") for part in parts if isinstance(part, Mapping))
        total += sum(len(text) for text in texts if isinstance(text, str))
    return total
