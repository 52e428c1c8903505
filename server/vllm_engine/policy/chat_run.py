"""TODO: what this file is about."""

import copy
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMError

from model.checkpoint.description import Checkpoint
from server.engine_interface import ChooseCandidates
from server.errors import ApiError, field_error
from server.protocol.event_stream import read_event, write_event
from server.request_media import RequestMedia, Videos
from server.vllm_engine.error_mapping import api_error
from server.vllm_engine.media_connector import CURRENT_MEDIA

from .answer_parser import read_answer
from .answer_validation import ParsedAnswer, Validation
from .candidates import CandidateClient
from .prompt_stats import PromptStats, add_vision_report
from .window import WindowLimitedClient

ERROR_EVENT = 'data: {"error"'
MEDIA_USAGE = '"multimodal_tokens"'


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """What of the policy's checkpoint, the operator's settings and the critic decides how requests are
    answered.
    """

    checkpoint: Checkpoint
    system_message: str | None  # None or empty: nothing is put in front of a conversation
    critic_shares_tiles: bool


def _request(body: Mapping[str, Any]) -> ChatCompletionRequest:
    """vLLM's request. Its validators run on whatever a client sent: what they raise is not a closed set."""
    try:
        return ChatCompletionRequest.model_validate(dict(body))
    except ValidationError as error:
        raise field_error(error) from None
    except VLLMError as error:
        raise api_error(error) from None
    except (TypeError, ValueError, AttributeError, KeyError):
        raise ApiError("A field of the request has a type or value that the API does not allow.") from None


ROLES = ("system", "developer")


def prepend_system_message(
    messages: Sequence[Mapping[str, Any]], system: str | None
) -> list[Mapping[str, Any]]:
    """The messages, `system` in front unless one of them is a system message already, be it an empty one.

    Nothing is put in front where `system` is empty or None.
    """
    own = any(message.get("role") in ROLES for message in messages)
    if own or not system:
        return list(messages)
    return [{"role": "system", "content": system}, *messages]


class ChatRun:
    """One request in vLLM's chat handler: a copy of it, whose engine client is a stand-in."""

    def __init__(
        self,
        chat: OpenAIServingChat,
        facts: PolicySettings,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None,
        videos: Videos,
    ) -> None:
        CURRENT_MEDIA.set(RequestMedia(videos))
        self._request = _request(
            {**body, "messages": prepend_system_message(body["messages"], facts.system_message)}
        )
        self._windowed = WindowLimitedClient(
            chat.engine_client,
            window=facts.checkpoint.window,
            tokens_per_tile=facts.checkpoint.tokens_per_tile,
            answer=self._request.max_completion_tokens or self._request.max_tokens,
        )
        self._candidate_client = None
        if choose is not None:
            streamed = bool(self._request.stream)
            find_problem = Validation(body, self._read).find_problem
            self._candidate_client = CandidateClient(
                self._windowed, choose, streamed=streamed, find_problem=find_problem
            )
        self._handler = copy.copy(chat)
        self._handler.engine_client = self._candidate_client or self._windowed

    @property
    def sight(self) -> PromptStats | None:
        """The rendered prompt's; None before it was rendered."""
        return self._windowed.sight

    @property
    def failure(self) -> Exception | None:
        """What ended the choice."""
        return None if self._candidate_client is None else self._candidate_client.failure

    async def answer(self) -> Any:
        try:
            return await self._handler.create_chat_completion(self._request)
        except ApiError:
            raise
        except Exception as error:
            raise api_error(error) from error

    def _read(self, text: str, token_ids: Sequence[int]) -> ParsedAnswer:
        """A candidate as the reply would show it."""
        parser = None if self._handler.parser_cls is None else self._parser
        auto = self._handler.enable_auto_tools
        return read_answer(parser, self._request, auto=auto, text=text, token_ids=token_ids)

    def _parser(self) -> Any:
        handler = self._handler
        options = handler._effective_chat_template_kwargs(self._request)
        return handler._make_parser(self._request, handler.renderer.tokenizer, options)


async def reworded(events: AsyncGenerator[str, None], running: ChatRun) -> AsyncGenerator[str, None]:
    """vLLM's events, errors in our words. One before any event is raised: it can still have a status. The
    first says how the prompt's media were seen.
    """
    begun = False
    async for event in events:
        if event.startswith(ERROR_EVENT):
            failure = running.failure
            reported = ErrorResponse.model_validate(read_event(event))
            error = failure if isinstance(failure, ApiError) else api_error(failure or reported)
            if not begun:
                raise error
            event = write_event(error.body)
        elif not begun or MEDIA_USAGE in event:
            sight = None if begun else running.sight
            event = write_event(add_vision_report(read_event(event), sight))
        begun = True
        yield event
