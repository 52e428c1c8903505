"""Answer a request of OpenAI's Responses API by a chat request (docs/decisions/0078)."""

import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from openai.types.responses import ResponseOutputItem
from vllm.entrypoints.generate.base.protocol import FunctionCall
from vllm.entrypoints.openai.responses.protocol import (
    InputTokensDetails,
    OutputTokensDetails,
    ResponsesRequest,
    ResponsesResponse,
    ResponseUsage,
)
from vllm.entrypoints.openai.responses.utils import build_response_output_items
from vllm.exceptions import VLLMError

from server.errors import ApiError
from server.protocol.field_names import renamed
from server.protocol.response_fields import CHAT_NAMES, OUR_FIELDS, RULES
from server.vllm_engine.error_mapping import api_error
from server.vllm_engine.policy.engine_request import read_request

from .chat_body import chat_fields, response_format
from .events import logprobs_of, response_events
from .input_items import chat_messages, continues_answer

MESSAGE = re.compile(r"\bmessages\[(\d+)\]")
ADDED = ("vision", "test_time_scaling")  # the fields that this server adds to a chat reply
NEVER_SET = {"kv_transfer_params", "ec_transfer_params", "input_messages", "output_messages"}


class ResponseConversion:
    """One Responses request, its chat request, and the way back from the chat request's reply."""

    def __init__(self, body: Mapping[str, Any], *, sampling: Mapping[str, Any], most_tokens: int) -> None:
        """Check the request and convert it.

        Args:
            body: the fields that the lists of `server/protocol/response_fields.py` pass, and our own.
            sampling: the checkpoint's defaults, by vLLM's names.
            most_tokens: of an answer for which the request names no limit.

        Raises:
            ApiError: 400, if a field is invalid.
        """
        # A field that is null is left out: the reply repeats some of them, and there vLLM allows no null.
        plain = {
            name: body[name]
            for name in RULES.passed & body.keys()
            if name not in OUR_FIELDS and body[name] is not None
        }
        response_format(body)  # its error says more than that of vLLM's type
        request_id = f"resp_{body['request_id']}"
        self._request = read_request({**plain, "input": "", "request_id": request_id}, ResponsesRequest)
        messages, self._origins = chat_messages(self._request.instructions, body.get("input"))
        self.chat_body: dict[str, Any] = {**chat_fields(body, self._request), "messages": messages}
        if continues_answer(body.get("input")):
            self.chat_body |= {"add_generation_prompt": False, "continue_final_message": True}
        # The reply states the values that hold for what the request leaves open.
        try:
            self._sampling = self._request.to_sampling_params(most_tokens, dict(sampling))
        except (VLLMError, ValueError) as error:
            raise self.named(api_error(error)) from None
        self._created = int(time.time())

    def named(self, error: ApiError) -> ApiError:
        """Return an error of the chat request with the names of this API's fields."""

        def item(match: re.Match[str]) -> str:
            index = int(match[1])
            origin = self._origins[index] if index < len(self._origins) else None
            return "input" if origin is None else f"input[{origin}]"

        error.message = MESSAGE.sub(item, error.message)
        error.param = None if error.param is None else MESSAGE.sub(item, error.param)
        return renamed(error, CHAT_NAMES)

    def reply(self, chat_reply: Mapping[str, Any]) -> dict[str, Any]:
        """Return the response that a chat reply makes."""
        (choice,) = chat_reply["choices"]
        message = choice["message"]
        output = build_response_output_items(
            reasoning=message.get("reasoning"),
            content=message.get("content"),
            tool_calls=[
                FunctionCall(id=call["id"], **call["function"]) for call in message.get("tool_calls") or ()
            ],
            logprobs=logprobs_of(choice),
            tools=self._request.tools,
        )
        return self.response(output, choice["finish_reason"], chat_reply)

    def events(self, chunks: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """Return the server-sent events of a response, given those of the chat reply."""
        return response_events(self, chunks, self._request.tools)

    def response(
        self,
        output: Sequence[ResponseOutputItem],
        finish_reason: str | None,
        chat_reply: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the response object with these output items.

        Args:
            output: the items.
            finish_reason: the chat choice's; None while the answer is being written.
            chat_reply: the reply or the parts of it that the chunks of a stream brought.
        """
        status = {None: "in_progress", "length": "incomplete"}.get(finish_reason, "completed")
        if status == "incomplete" and output and hasattr(output[-1], "status"):
            output[-1].status = "incomplete"
        reply = ResponsesResponse.from_request(
            self._request,
            self._sampling,
            model_name=chat_reply["model"],
            created_time=self._created,
            output=list(output),
            status=status,
            usage=_usage(chat_reply.get("usage")),
        )
        body: dict[str, Any] = reply.model_dump(mode="json", by_alias=True, exclude=NEVER_SET)
        return body | {name: chat_reply[name] for name in ADDED if name in chat_reply}


def _usage(usage: Mapping[str, Any] | None) -> ResponseUsage | None:
    if usage is None:
        return None
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return ResponseUsage(
        input_tokens=usage["prompt_tokens"],
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=0),
        output_tokens=usage["completion_tokens"],
        output_tokens_details=OutputTokensDetails(reasoning_tokens=reasoning),
        total_tokens=usage["total_tokens"],
    )
