"""Answer a request of Anthropic's Messages API by a chat request (docs/decisions/0078)."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from pydantic import ValidationError
from vllm.entrypoints.anthropic.protocol import (
    AnthropicContentBlock,
    AnthropicCountTokensRequest,
    AnthropicMessagesRequest,
)
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse
from vllm.exceptions import VLLMError

from server.errors import ApiError, field_error
from server.protocol.error_forms import message_error
from server.protocol.event_stream import is_comment, is_error, read_event, write_named_event
from server.protocol.field_names import renamed
from server.protocol.message_fields import CHAT_NAMES, OUR_FIELDS, RULES

from .error_mapping import api_error
from .internals.handlers import merges_inline_system
from .policy.engine_request import read_request

FIRST = "event: message_start\n"
NEVER_SET = {"kv_transfer_params", "ec_transfer_params"}


class MessageConversion:
    """One Messages request, its chat request, and the way back from the chat request's reply."""

    def __init__(
        self, handler: AnthropicServingMessages, body: Mapping[str, Any], *, counts_tokens: bool
    ) -> None:
        """Check the request and convert it by vLLM's converter.

        Args:
            handler: vLLM's handler of Messages requests, whose converters are used.
            body: the fields that the lists of `server/protocol/message_fields.py` pass, and our own.
            counts_tokens: whether the request asks for its number of tokens alone, so it has no max_tokens.

        Raises:
            ApiError: 400, if a field is invalid.
        """
        self._handler = handler
        kind = AnthropicCountTokensRequest if counts_tokens else AnthropicMessagesRequest
        plain = {name: body[name] for name in RULES.passed & body.keys() if name not in OUR_FIELDS}
        _check_blocks(plain.get("messages"))
        request = read_request(plain, kind)
        try:
            chat = handler.to_chat_completion_request(
                request, merge_inline_system=merges_inline_system(handler)
            )
        except ValidationError as error:
            raise field_error(error) from None
        except VLLMError as error:
            raise api_error(error) from None
        except ValueError as error:  # a change of a tool that isn't there
            raise ApiError(f"{error}.", param="messages") from None
        fields = chat.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
        ours = {name: body[name] for name in OUR_FIELDS if body.get(name) is not None}
        self.chat_body: dict[str, Any] = {**fields, **ours, "request_id": body["request_id"]}

    def named(self, error: ApiError) -> ApiError:
        """Return an error of the chat request with the names of this API's fields."""
        return renamed(error, CHAT_NAMES)

    def reply(self, chat_reply: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message that a chat reply makes."""
        (choice,) = chat_reply["choices"]
        for call in choice["message"].get("tool_calls") or ():
            if not _is_object(call["function"]["arguments"]):  # max_tokens has cut them off
                call["function"]["arguments"] = "{}"
        message = self._handler.messages_full_converter(ChatCompletionResponse.model_validate(chat_reply))
        body: dict[str, Any] = message.model_dump(mode="json", exclude_none=True, exclude=NEVER_SET)
        body["stop_sequence"] = message.stop_sequence  # Anthropic's messages always have the field
        return body if chat_reply.get("vision") is None else {**body, "vision": chat_reply["vision"]}

    async def events(self, chunks: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Yield Anthropic's events, given those of the chat reply. Comments are left out.

        vLLM's converter gets neither comments nor errors, which it would take for failures of its own.
        """
        first: dict[str, Any] = {}
        failures: list[ApiError] = []

        async def data_events() -> AsyncGenerator[str, None]:
            try:
                async with aclosing(chunks):
                    async for chunk in chunks:
                        if is_error(chunk):
                            error = read_event(chunk)["error"]
                            status = 400 if error["type"] == "invalid_request_error" else 500
                            failures.append(ApiError(error["message"], status=status))
                            return
                        if not is_comment(chunk):
                            if not first:
                                first.update(read_event(chunk))
                            yield chunk
            except ApiError as error:
                failures.append(error)

        async with aclosing(data_events()) as data:
            async for event in self._handler.message_stream_converter(data):
                if event.startswith(FIRST) and first.get("vision") is not None:
                    start = read_event(event.removeprefix(FIRST))
                    start["message"]["vision"] = first["vision"]
                    event = write_named_event("message_start", start)
                yield event
        for failure in failures:
            yield write_named_event("error", message_error(self.named(failure)))


def _check_blocks(messages: Any) -> None:
    """Raise ApiError (400) for the first wrong message or block.

    pydantic would list the errors of all of them, which takes seconds for 100,000. What is no list at all is
    left to it.
    """
    for index, message in enumerate(messages if isinstance(messages, list) else ()):
        param = f"messages[{index}]"
        if not isinstance(message, Mapping) or "role" not in message or "content" not in message:
            raise ApiError(f"{param} must be an object with role and content.", param=param)
        content = message["content"]
        for number, block in enumerate(content if isinstance(content, list) else ()):
            try:
                AnthropicContentBlock.model_validate(block)
            except ValidationError as error:
                failure = field_error(error)
                where = f"{param}.content[{number}]" + (f".{failure.param}" if failure.param else "")
                raise ApiError(f"{param}.content[{number}]: {failure.message}", param=where) from None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
