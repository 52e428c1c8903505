"""Run one chat request in vLLM's chat handler, with the window check and the candidates of this server."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from model.checkpoint.description import Checkpoint
from server.engine_interface import CountTokens
from server.errors import ApiError
from server.prompts import ChooseCandidates, RenderedPrompt
from server.request_media import Media
from server.telemetry.tracing import CURRENT_TRACE, Span
from server.vllm_engine.error_mapping import api_error
from server.vllm_engine.grammars.checker import GrammarChecker
from server.vllm_engine.grammars.client import GrammarCheckedClient, grammar_param
from server.vllm_engine.internals.handlers import change_logprobs, parser_factory, with_engine_client
from server.vllm_engine.media_connector import CURRENT_MEDIA
from server.vllm_engine.policy_metrics import PolicyMetrics
from server.vllm_engine.token_accounts import MeteredClient, TokenAccounts

from .answer_parser import read_answer
from .answer_validation import ParsedAnswer, Validation
from .candidates import CandidateClient
from .engine_request import lower_max_tokens, prepend_system_message, read_request, with_room
from .later_logprobs import made_later
from .media_resend import MediaResendingClient
from .prompt_stats import PromptStats, vision_report
from .window import WindowLimitedClient


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """The settings of the policy that hold for all chat requests."""

    checkpoint: Checkpoint
    system_message: str | None  # begins conversations that have none; None or empty adds nothing
    grammars: GrammarChecker
    accounts: TokenAccounts
    metrics: PolicyMetrics
    cut_max_tokens: bool  # whether a max_tokens beyond the window is lowered instead of refused


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
        media: Media,
        count: CountTokens,
    ) -> None:
        """Set the request's media in CURRENT_MEDIA and build the handler.

        Args:
            chat: vLLM's chat handler.
            settings: the settings of the policy.
            body: the chat request.
            choose: samples and chooses candidates; None for one plain generation.
            media: the decoded images and videos by handle.
            count: gets the tokens that the engine takes for the request.

        Raises:
            ApiError: 400, if a field of the request is invalid.
        """
        self._metrics = settings.metrics
        self._rendering: Span | None = None
        self._media = media
        CURRENT_MEDIA.set(self._media)
        messages = prepend_system_message(body["messages"], settings.system_message)
        if settings.cut_max_tokens:
            body = lower_max_tokens(body, chat.model_config.max_model_len)
        answer = body.get("max_completion_tokens") or body.get("max_tokens")
        vision = with_room(body.get("mm_processor_kwargs"), settings.checkpoint.window, answer)
        self._engine_body = {**body, "messages": messages, "mm_processor_kwargs": vision}
        self._request = read_request(self._engine_body, ChatCompletionRequest)
        self._grammar_checked = GrammarCheckedClient(
            MediaResendingClient(
                MeteredClient(
                    chat.engine_client,
                    settings.accounts,
                    settings.metrics,
                    "plain" if choose is None else "candidate",
                    count,
                ),
                self._render_with_tiles,
            ),
            settings.grammars,
            param=grammar_param(body),
        )
        self._windowed = WindowLimitedClient(
            self._grammar_checked,
            window=settings.checkpoint.window,
            tokens_per_tile=settings.checkpoint.tokens_per_tile,
            answer=None if settings.cut_max_tokens else answer,
            observe_deltas=self._take_deltas,
        )
        self._candidate_client = None
        if choose is not None:
            streamed = bool(self._request.stream)
            self._candidate_client = CandidateClient(
                self._windowed, choose, streamed=streamed, find_problem=self._find_problem
            )
        self._body = body
        self._validation: Validation | None = None
        self._handler = with_engine_client(chat, self._candidate_client or self._windowed)
        if not self._request.stream:
            change_logprobs(self._handler, made_later)

    @property
    def prompt_stats(self) -> PromptStats | None:
        """The stats of the rendered prompt; None before it was rendered."""
        return self._windowed.prompt_stats

    @property
    def failure(self) -> Exception | None:
        """The error that ended the selection, or the refusal of the grammar, if there was one."""
        selection = None if self._candidate_client is None else self._candidate_client.failure
        return selection or self._grammar_checked.failure

    async def render(self) -> RenderedPrompt:
        """Return the prompt without generating anything.

        Raises:
            ApiError: the messages can't be rendered, or they leave no room for the answer.
        """
        try:
            prompt = await self._render_with_tiles()
        except ApiError:
            raise
        except Exception as error:
            failure = api_error(error)
            failure.param = failure.param or "messages"
            raise failure from error
        stats = self._windowed.check(prompt)
        tokens = prompt["prompt_token_ids"]
        limits = [
            self._request.max_completion_tokens or self._request.max_tokens,
            self._handler.default_sampling_params.get("max_tokens"),
            self._handler.model_config.max_model_len - len(tokens),
            self._windowed.window - stats.next_position,
        ]
        return RenderedPrompt(
            token_ids=tokens,
            vision=vision_report(stats),
            positions=stats.next_position,
            window=self._windowed.window,
            max_tokens=min(limit for limit in limits if limit is not None),
        )

    async def answer(self) -> Any:
        """Return the reply of vLLM's chat handler: a reply object, an error object, or a stream of events.

        Raises:
            ApiError: the handler or `choose` failed, or a schema of the request is invalid.
        """
        if (
            self._candidate_client is not None
        ):  # its schemas may take as long to check as their time limit says
            self._validation = await asyncio.to_thread(Validation, self._body, self._read)
        trace = CURRENT_TRACE.get()
        self._rendering = None if trace is None else trace.begin("render")
        try:
            return await self._handler.create_chat_completion(self._request)
        except ApiError:
            raise
        except Exception as error:
            if self._rendering is not None:
                self._rendering.end(error)
            failure = api_error(error)
            if failure.status < HTTPStatus.INTERNAL_SERVER_ERROR and self.prompt_stats is None:
                failure.param = failure.param or "messages"  # they could not be rendered
            raise failure from error

    async def _render_with_tiles(self) -> Mapping[str, Any]:
        """Return the prompt, with the tiles of all media in it. The handler has rendered it before."""
        CURRENT_MEDIA.set(self._media)  # the events of a stream are read in another task
        # Rendering changes a request with tools, so it starts from a new one.
        rendered = await self._handler.online_renderer.render_chat(
            read_request(self._engine_body, ChatCompletionRequest), skip_mm_cache=True
        )
        if isinstance(rendered, ErrorResponse):
            raise api_error(rendered)
        _, (prompt,) = rendered
        return prompt

    def _take_deltas(self, deltas: Sequence[float]) -> None:
        """Take the deltas of the prompt, which now is rendered."""
        self._metrics.observe_deltas(deltas)
        if self._rendering is not None:
            self._rendering.end()

    def _find_problem(self, text: str, token_ids: Sequence[int], finish_reason: str) -> str | None:
        assert self._validation is not None, "answer() makes it before it asks for candidates"
        return self._validation.find_problem(text, token_ids, finish_reason)

    def _read(self, text: str, token_ids: Sequence[int]) -> ParsedAnswer:
        """Return a candidate as the reply would show it."""
        new_parser = parser_factory(self._handler, self._request)
        auto = self._handler.enable_auto_tools
        return read_answer(new_parser, self._request, auto=auto, text=text, token_ids=token_ids)
