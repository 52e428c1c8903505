"""Make vLLM's request of a body: its limits, its system message and its room for an answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from vllm.exceptions import VLLMError

from server.errors import ApiError, field_error
from server.vllm_engine.error_mapping import api_error

ROLES = ("system", "developer")
Request = TypeVar("Request", bound=BaseModel)


def lower_max_tokens(body: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return a body whose max_tokens and max_completion_tokens are at most `most`."""
    limits = {name: body.get(name) for name in ("max_tokens", "max_completion_tokens")}
    return {**body, **{name: min(limit, most) for name, limit in limits.items() if limit is not None}}


def read_request(body: Mapping[str, Any], kind: type[Request]) -> Request:
    """Return vLLM's request object, of the type `kind`. Raise ApiError for all errors of its validators."""
    try:
        return kind.model_validate(dict(body))
    except ValidationError as error:
        raise field_error(error) from None
    except VLLMError as error:
        failure = api_error(error)
        failure.param = failure.param or _field_at_fault(body, kind, _is_refusal)
        raise failure from None
    except (TypeError, ValueError, AttributeError, KeyError):  # a validator of vLLM's that failed itself
        param = _field_at_fault(body, kind, _is_failure)
        subject = param or "A field of the request"
        raise ApiError(
            f"{subject} has a type or value that the API does not allow. Correct it.", param=param
        ) from None


def _field_at_fault(
    body: Mapping[str, Any], kind: type[BaseModel], is_meant: Callable[[Exception], bool]
) -> str | None:
    """Return the first field that makes vLLM's validators raise such an error by itself, or None."""
    required = {"messages": [{"role": "user", "content": ""}], "prompt": "", "input": ""}
    smallest = {name: value for name, value in required.items() if name in kind.model_fields}
    for name, value in body.items():
        try:
            kind.model_validate({**smallest, name: value})
        except (TypeError, ValueError, AttributeError, KeyError, VLLMError) as error:
            if is_meant(error):
                return name
    return None


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, VLLMError)


def _is_failure(error: Exception) -> bool:
    return not isinstance(error, ValidationError | VLLMError)


def prepend_system_message(
    messages: Sequence[Mapping[str, Any]], system: str | None
) -> list[Mapping[str, Any]]:
    """Return the messages with the system message `system` in front.

    The messages stay as they are if `system` is empty or None, or if one of them is a system message, even an
    empty one.
    """
    has_system_message = any(message.get("role") in ROLES for message in messages)
    if has_system_message or not system:
        return list(messages)
    return [{"role": "system", "content": system}, *messages]


def with_room(
    vision: Mapping[str, Any] | None, window: int, answer: int | None = None
) -> Mapping[str, Any] | None:
    """Return `mm_processor_kwargs` with the room that delta "auto" keeps for what is yet to be written.

    An eighth of the window is kept after the last image or video. So the delta of a chat seldom changes from
    turn to turn, which would move its images and have them computed again. If the max_tokens of the request
    is absent or no demand, an eighth of the window, and at most 2,048 positions or `answer` tokens, are kept
    for the answer. Otherwise "auto" would take the largest delta that fits the prompt alone, and leave an
    answer of a few tokens.
    """
    if vision is None or vision.get("v2pe_delta") != "auto":
        return vision
    room = {"v2pe_growth": window // 8}
    if "v2pe_max_tokens" not in vision:
        reserve = min(2048, window // 8)
        room["v2pe_reserve"] = reserve if answer is None else min(reserve, answer)
    return {**vision, **room}
