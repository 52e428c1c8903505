"""Turn the fields of a Responses request into those of a chat request."""

from collections.abc import Mapping
from typing import Any

from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.entrypoints.openai.responses.utils import convert_tool_responses_to_completions_format
from vllm.tool_parsers.utils import iter_response_function_tool_dicts

from server.errors import MISSING_FIELD, ApiError
from server.protocol.response_fields import OUR_FIELDS, SAME_AS_CHAT

TOOLS = ("function", "custom", "namespace")


def chat_fields(body: Mapping[str, Any], request: ResponsesRequest) -> dict[str, Any]:
    """Return the chat request's fields but for its messages.

    Args:
        body: the fields of the request as they came.
        request: the same, checked by vLLM.

    Raises:
        ApiError: 400, for a tool that only OpenAI can run.
    """
    fields = {name: body[name] for name in (*SAME_AS_CHAT, *OUR_FIELDS) if body.get(name) is not None}
    if request.stream:
        fields["stream_options"] = {"include_usage": True}
    if request.max_output_tokens is not None:
        fields["max_completion_tokens"] = request.max_output_tokens
    if request.is_include_output_logprobs():
        fields |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
    if request.truncation == "auto":
        fields["truncate_prompt_tokens"] = -1
    if request.reasoning is not None and request.reasoning.effort is not None:
        fields["reasoning_effort"] = request.reasoning.effort
    if (answer_format := response_format(body)) is not None:
        fields["response_format"] = answer_format
    return fields | _tool_fields(body, request)


def response_format(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the chat request's `response_format`, or None without a format.

    Raises ApiError (400) for a format without its schema, of which vLLM's types only say that it is no text.
    """
    text = body.get("text")
    answer_format = text.get("format") if isinstance(text, Mapping) else None
    if not isinstance(answer_format, Mapping):
        return None
    kind = answer_format.get("type")
    if kind != "json_schema":
        return {"type": kind}
    if answer_format.get("schema") is None:
        raise ApiError(
            "text.format.schema is missing. Send a schema.", param="text.format.schema", code=MISSING_FIELD
        )
    return {
        "type": kind,
        "json_schema": {name: value for name, value in answer_format.items() if name != "type"},
    }


def _tool_fields(body: Mapping[str, Any], request: ResponsesRequest) -> dict[str, Any]:
    for index, tool in enumerate(request.tools):
        if tool.type not in TOOLS:
            raise ApiError(
                f"tools[{index}]: tools of type {tool.type!r} run at OpenAI only. Send functions.",
                param=f"tools[{index}].type",
            )
    if not request.tools:
        return {}
    tools = [
        convert_tool_responses_to_completions_format(tool).model_dump(exclude_none=True)
        for tool in iter_response_function_tool_dicts(request.tools)
    ]
    choice = body.get("tool_choice")
    if not isinstance(choice, Mapping):
        return {"tools": tools, "tool_choice": choice or "auto"}
    if choice.get("type") not in ("function", "custom"):
        raise ApiError("tool_choice must be auto, none, required, or name one function.", param="tool_choice")
    # vLLM has found the tool and written its whole name into its request.
    name = getattr(request.tool_choice, "name", choice.get("name"))
    return {"tools": tools, "tool_choice": {"type": "function", "function": {"name": name}}}
