"""Run one chat request in vLLM's chat handler, with the window check and the candidates of this server."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMError

from model.checkpoint.description import Checkpoint
from server.engine_interface import ChooseCandidates
from server.errors import ApiError, field_error
from server.protocol.event_stream import is_error, read_event, write_event
from server.request_media import RequestMedia, Videos
from server.vllm_engine.error_mapping import api_error
from server.vllm_engine.grammars.checker import GrammarChecker
from server.vllm_engine.grammars.client import GrammarCheckedClient, grammar_param
from server.vllm_engine.media_connector import CURRENT_MEDIA

from .answer_parser import read_answer
from .answer_validation import ParsedAnswer, Validation
from .candidates import CandidateClient
from .media_resend import MediaResendingClient
from .prompt_stats import PromptStats, add_vision_report
from .window import WindowLimitedClient

MEDIA_USAGE = '"multimodal_tokens"'


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """The settings of the policy that hold for all chat requests."""

    checkpoint: Checkpoint
    system_message: str | None  # begins conversations that have none; None or empty adds nothing
    critic_shares_tiles: bool  # true if the critic's tiles have the size of the policy's
    grammars: GrammarChecker
    cut_max_tokens: bool  # whether a max_tokens beyond the window is lowered instead of refused


def lower_max_tokens(body: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return a chat request's body whose max_tokens and max_completion_tokens are at most `most`."""
    limits = {name: body.get(name) for name in ("max_tokens", "max_completion_tokens")}
    return {**body, **{name: min(limit, most) for name, limit in limits.items() if limit is not None}}


def read_request(body: Mapping[str, Any]) -> ChatCompletionRequest:
    """Return vLLM's request object. Raise ApiError for all errors of its validators."""
    try:
        return ChatCompletionRequest.model_validate(dict(body))
    except ValidationError as error:
        raise field_error(error) from None
    except VLLMError as error:
        raise api_error(error) from None
    except (TypeError, ValueError, AttributeError, KeyError):  # a validator of vLLM's that failed itself
        param = _unreadable_field(body)
        subject = param or "A field of the request"
        raise ApiError(
            f"{subject} has a type or value that the API does not allow. Correct it.", param=param
        ) from None


def _unreadable_field(body: Mapping[str, Any]) -> str | None:
    """Return the field at which vLLM's validators fail with an error of their own, or None."""
    for name, value in body.items():
        try:
            ChatCompletionRequest.model_validate({"messages": [{"role": "user", "content": ""}], name: value})
        except (ValidationError, VLLMError):
            continue
        except (TypeError, ValueError, AttributeError, KeyError):
            return name
    return None


ROLES = ("system", "developer")


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


class ChatRun:
    """One chat request in a copy of vLLM's chat handler, whose engine client is a `WindowLimitedClient`.

    If the request has a `choose` function, the client is a `CandidateClient` in front of it.
    """

    def __init__(
        self,
        chat: OpenAIServingChat,
        settings: PolicySettings,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None,
        videos: Videos,
    ) -> None:
        """Set the request's media in CURRENT_MEDIA and build the handler.

        Args:
            chat: vLLM's chat handler.
            settings: the settings of the policy.
            body: the chat request.
            choose: samples and chooses candidates; None for one plain generation.
            videos: the decoded videos by handle.

        Raises:
            ApiError: 400, if a field of the request is invalid.
        """
        self._media = RequestMedia(videos)
        CURRENT_MEDIA.set(self._media)
        messages = prepend_system_message(body["messages"], settings.system_message)
        if settings.cut_max_tokens:
            body = lower_max_tokens(body, chat.model_config.max_model_len)
        answer = body.get("max_completion_tokens") or body.get("max_tokens")
        vision = with_room(body.get("mm_processor_kwargs"), settings.checkpoint.window, answer)
        self._engine_body = {**body, "messages": messages, "mm_processor_kwargs": vision}
        self._request = read_request(self._engine_body)
        self._grammar_checked = GrammarCheckedClient(
            MediaResendingClient(chat.engine_client, self._render_with_tiles),
            settings.grammars,
            param=grammar_param(body),
        )
        self._windowed = WindowLimitedClient(
            self._grammar_checked,
            window=settings.checkpoint.window,
            tokens_per_tile=settings.checkpoint.tokens_per_tile,
            answer=None if settings.cut_max_tokens else answer,
        )
        self._candidate_client = None
        if choose is not None:
            streamed = bool(self._request.stream)
            self._candidate_client = CandidateClient(
                self._windowed, choose, streamed=streamed, find_problem=self._find_problem
            )
        self._body = body
        self._validation: Validation | None = None
        self._handler = copy.copy(chat)
        self._handler.engine_client = self._candidate_client or self._windowed

    @property
    def prompt_stats(self) -> PromptStats | None:
        """The stats of the rendered prompt; None before it was rendered."""
        return self._windowed.prompt_stats

    @property
    def failure(self) -> Exception | None:
        """The error that ended the selection, or the refusal of the grammar, if there was one."""
        selection = None if self._candidate_client is None else self._candidate_client.failure
        return selection or self._grammar_checked.failure

    async def answer(self) -> Any:
        """Return the reply of vLLM's chat handler: a reply object, an error object, or a stream of events.

        Raises:
            ApiError: the handler or `choose` failed, or a schema of the request is invalid.
        """
        if (
            self._candidate_client is not None
        ):  # its schemas may take as long to check as their time limit says
            self._validation = await asyncio.to_thread(Validation, self._body, self._read)
        try:
            return await self._handler.create_chat_completion(self._request)
        except ApiError:
            raise
        except Exception as error:
            failure = api_error(error)
            if failure.status < HTTPStatus.INTERNAL_SERVER_ERROR and self.prompt_stats is None:
                failure.param = failure.param or "messages"  # they could not be rendered
            raise failure from error

    async def _render_with_tiles(self) -> Mapping[str, Any]:
        """Return the prompt, with the tiles of all media in it. The handler has rendered it before."""
        CURRENT_MEDIA.set(self._media)  # the events of a stream are read in another task
        # Rendering changes a request with tools, so it starts from a new one.
        rendered = await self._handler.online_renderer.render_chat(
            read_request(self._engine_body), skip_mm_cache=True
        )
        if isinstance(rendered, ErrorResponse):
            raise api_error(rendered)
        _, (prompt,) = rendered
        return prompt

    def _find_problem(self, text: str, token_ids: Sequence[int], finish_reason: str) -> str | None:
        assert self._validation is not None, "answer() makes it before it asks for candidates"
        return self._validation.find_problem(text, token_ids, finish_reason)

    def _read(self, text: str, token_ids: Sequence[int]) -> ParsedAnswer:
        """Return a candidate as the reply would show it."""
        parser = None if self._handler.parser_cls is None else self._parser
        auto = self._handler.enable_auto_tools
        return read_answer(parser, self._request, auto=auto, text=text, token_ids=token_ids)

    def _parser(self) -> Any:
        handler = self._handler
        options = handler._effective_chat_template_kwargs(self._request)
        return handler._make_parser(self._request, handler.renderer.tokenizer, options)


async def reword_errors(events: AsyncGenerator[str, None], chat_run: ChatRun) -> AsyncGenerator[str, None]:
    """Yield vLLM's events with reworded errors, and with the field `vision` in the first event.

    Raises:
        ApiError: the first event is an error, so that the reply can still have its HTTP status.
    """
    begun = False
    async for event in events:
        if is_error(event):
            failure = chat_run.failure
            reported = ErrorResponse.model_validate(read_event(event))
            error = failure if isinstance(failure, ApiError) else api_error(failure or reported)
            if not begun:
                raise error
            event = write_event(error.body)
        elif not begun or MEDIA_USAGE in event:
            stats = None if begun else chat_run.prompt_stats
            event = write_event(add_vision_report(read_event(event), stats))
        begun = True
        yield event
