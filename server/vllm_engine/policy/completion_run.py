"""Run one request for text completions in vLLM's handler, with the checks of this server."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from vllm.entrypoints.openai.completion.protocol import CompletionRequest, CompletionResponse
from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from server.engine_interface import CountTokens
from server.errors import ApiError
from server.protocol.field_names import renamed
from server.vllm_engine.error_mapping import api_error
from server.vllm_engine.grammars.client import GrammarCheckedClient, grammar_param
from server.vllm_engine.internals.handlers import with_engine_client
from server.vllm_engine.token_accounts import MeteredClient

from .chat_run import PolicySettings
from .engine_request import lower_max_tokens, read_request
from .event_errors import reword_errors
from .window import WindowLimitedClient

NAMES = {"messages": "prompt"}  # of fields, in errors


class CompletionRun:
    """One completion request in a copy of vLLM's handler."""

    prompt_stats = None  # a text has no tiles to report

    def __init__(
        self,
        handler: OpenAIServingCompletion,
        settings: PolicySettings,
        body: Mapping[str, Any],
        count: CountTokens,
    ) -> None:
        """Build the handler. The arguments are those of `ChatRun`; raises ApiError as it does."""
        if settings.cut_max_tokens:
            body = lower_max_tokens(body, handler.model_config.max_model_len)
        self._request = read_request(body, CompletionRequest)
        self._grammar_checked = GrammarCheckedClient(
            MeteredClient(handler.engine_client, settings.accounts, settings.metrics, "plain", count),
            settings.grammars,
            param=grammar_param(body),
        )
        answer = None if settings.cut_max_tokens else body.get("max_tokens")
        self._handler = with_engine_client(handler, _PromptsClient(self._grammar_checked, settings, answer))

    @property
    def failure(self) -> ApiError | None:
        """The refusal of the grammar, if there was one."""
        return self._grammar_checked.failure

    async def answer(self) -> CompletionResponse | AsyncGenerator[str, None]:
        """Return the reply of vLLM's handler, or its events if the request is streamed. Raises ApiError."""
        try:
            reply = await self._handler.create_completion(self._request)
        except Exception as error:
            raise _named(error if isinstance(error, ApiError) else api_error(error)) from error
        if isinstance(reply, ErrorResponse):
            raise _named(api_error(reply))
        return reply if isinstance(reply, CompletionResponse) else self._events(reply)

    async def _events(self, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        try:
            async with aclosing(reword_errors(events, self)) as reworded:
                async for event in reworded:
                    yield event
        except ApiError as error:
            raise _named(error) from error


def _named(error: ApiError) -> ApiError:
    """Return an error with the names of this API's fields. What names no field is about the prompt."""
    named = renamed(error, NAMES)
    if named.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        named.param = named.param or "prompt"
    return named


class _PromptsClient:
    """vLLM's engine client for a request with several prompts, each of which has the whole window."""

    def __init__(self, client: Any, settings: PolicySettings, answer: int | None) -> None:
        self._client = client
        self._settings = settings
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def generate(
        self, prompt: Any, sampling_params: Any, request_id: str, **options: Any
    ) -> AsyncGenerator[Any, None]:
        """Call `WindowLimitedClient.generate` of a client for this prompt alone."""
        checkpoint = self._settings.checkpoint
        windowed = WindowLimitedClient(
            self._client,
            window=checkpoint.window,
            tokens_per_tile=checkpoint.tokens_per_tile,
            answer=self._answer,
        )
        return windowed.generate(prompt, sampling_params, request_id, **options)
