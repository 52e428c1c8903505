"""Turn the input items of a Responses request into the messages of a chat request."""

from collections.abc import Mapping, Sequence
from typing import Any

from openai.types.responses import ResponseFunctionToolCall, ResponseReasoningItem
from pydantic import BaseModel, ValidationError
from vllm.entrypoints.openai.responses.utils import _construct_message_from_response_item

from server.errors import MISSING_FIELD, ApiError, field_error

ROLES = ("system", "developer", "user", "assistant")
TEXTS = ("input_text", "output_text", "text", "refusal")
CALLS = ("function_call", "custom_tool_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output")


def chat_messages(instructions: str | None, items: Any) -> tuple[list[dict[str, Any]], Sequence[int | None]]:
    """Return the messages of a chat request, and for each of them the index of the item that it begins with.

    That is None for the `instructions`, which become a system message, and for an `input` that is a text.
    vLLM's own converter joins the items that make one message, such as a reasoning item and the calls after
    it. Media stay as they are: whoever answers the chat request fetches and checks them.

    Raises:
        ApiError: 400, if an item has a wrong form or a kind that can't be answered.
    """
    messages: list[dict[str, Any]] = []
    origins: list[int | None] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
        origins.append(None)
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}], [*origins, None]
    if not isinstance(items, list) or not items:
        missing = items in (None, [])
        raise ApiError(
            f"input {'is missing' if missing else 'has a wrong type'}. Send a text or a list of items.",
            param="input",
            code=MISSING_FIELD if missing else "invalid_value",
        )
    for index, item in enumerate(items):
        previous = messages[-1] if messages else None
        message = _construct_message_from_response_item(_read_item(item, f"input[{index}]"), previous)
        if message is not None:
            messages.append(dict(message))
            origins.append(index)
    return messages, origins


def continues_answer(items: Any) -> bool:
    """Return whether the last item is the beginning of an answer, which the model shall continue."""
    last = items[-1] if isinstance(items, list) and items else None
    return (
        isinstance(last, dict)
        and last.get("role") == "assistant"
        and last.get("status") in ("in_progress", "incomplete")
    )


def _read_item(item: Any, param: str) -> Any:
    """Return an item as vLLM's converter takes it."""
    if not isinstance(item, dict):
        raise ApiError(f"{param} must be an object, such as a message.", param=param)
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind == "message":
        return _read_message(item, param)
    if kind == "reasoning":
        if item.get("encrypted_content"):
            raise ApiError(
                f"{param}.encrypted_content can't be read here. Leave the item out.",
                param=f"{param}.encrypted_content",
            )
        for name in ("summary", "content"):  # before pydantic, which would list the errors of all parts
            parts = item.get(name)
            for number, part in enumerate(parts if isinstance(parts, list) else ()):
                if not isinstance(part, dict) or not isinstance(part.get("text"), str):
                    where = f"{param}.{name}[{number}]"
                    raise ApiError(f"{where} must be an object with a text.", param=where)
        return _read_as(ResponseReasoningItem, {"id": "", "summary": [], **item}, param)
    if kind == "function_call":
        return _read_as(ResponseFunctionToolCall, item, param)
    if kind in CALLS:
        _require_texts(item, ("call_id", "name", "input"), param)
        return item
    if kind in OUTPUTS:
        _require_texts(item, ("call_id",), param)
        return {**item, "output": _read_content(item.get("output"), f"{param}.output")}
    kinds = ", ".join(("message", "reasoning", *CALLS, *OUTPUTS))
    raise ApiError(
        f"{param}: items of type {str(kind)[:40]!r} are not supported; send one of {kinds}.",
        param=f"{param}.type",
    )


def _read_message(item: Mapping[str, Any], param: str) -> dict[str, Any]:
    role = item.get("role")
    if role not in ROLES:
        raise ApiError(
            f"{param}.role must be one of {', '.join(ROLES)}, not {str(role)[:40]!r}.", param=f"{param}.role"
        )
    content = _read_content(item.get("content"), f"{param}.content")
    if role != "assistant" or isinstance(content, str):
        return {"role": role, "content": content}
    for number, part in enumerate(content):  # vLLM's converter would read the first one alone
        if part["type"] != "text":
            where = f"{param}.content[{number}]"
            raise ApiError(f"{where}: an assistant's message holds text only.", param=f"{where}.type")
    return {"role": role, "content": "".join(part["text"] for part in content)}


def _read_content(content: Any, param: str) -> str | list[dict[str, Any]]:
    """Return a text, or the parts of a chat message."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise ApiError(f"{param} must be a text or a list of parts.", param=param)
    return [_read_part(part, f"{param}[{number}]") for number, part in enumerate(content)]


def _read_part(part: Any, param: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXTS:
        field = "refusal" if kind == "refusal" else "text"
        _require_texts(part, (field,), param)
        return {"type": "text", "text": part[field]}
    if kind in ("input_image", "input_video"):
        medium = f"{kind.removeprefix('input_')}_url"
        source = {name: part[name] for name in ("detail", "file_id") if part.get(name) is not None}
        if isinstance(part.get(medium), str):
            source["url"] = part[medium]
        return {"type": medium, medium: source}
    if kind in ("image_url", "video_url"):  # as in a chat request
        return dict(part)
    raise ApiError(
        f"{param}: parts of type {str(kind)[:40]!r} are not supported; "
        "send input_text, input_image or input_video.",
        param=f"{param}.type",
    )


def _read_as(kind: type[BaseModel], item: Mapping[str, Any], param: str) -> BaseModel:
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        failure = field_error(error)
        where = f"{param}.{failure.param}" if failure.param else param
        raise ApiError(f"{param}: {failure.message}", param=where, code=failure.code) from None


def _require_texts(item: Mapping[str, Any], names: Sequence[str], param: str) -> None:
    for name in names:
        if not isinstance(item.get(name), str):
            raise ApiError(f"{param}.{name} must be a text.", param=f"{param}.{name}")
