"""The policy on vLLM: the implementation of `server.engine_interface.PolicyEngine`.

vLLM's chat handler does most of the API's work: rendering, parsers, logprobs and chunks. This package decides
which requests reach the engines (`policy/candidates.py`) and words the errors (`error_mapping.py`).
`start.py` starts the engine.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm.engine.protocol import EngineClient
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.openai.completion.protocol import CompletionResponse
from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeCompletionRequest
from vllm.entrypoints.serve.tokenize.serving import ServingTokenization

from model.images.tiling import TilingConfig
from server.engine_interface import CountTokens, ignore_tokens
from server.errors import ApiError
from server.prompts import ChooseCandidates, RenderedPrompt
from server.request_media import Media
from server.vllm_engine.grammars.request_tags import check_structural_tags
from server.vllm_engine.policy.chat_run import ChatRun, PolicySettings
from server.vllm_engine.policy.completion_run import CompletionRun
from server.vllm_engine.policy.event_errors import reword_errors
from server.vllm_engine.policy.prompt_stats import add_vision_report
from server.vllm_engine.policy.reply_body import reply_body
from server.vllm_engine.responses.conversion import ResponseConversion

from .api_schemas import api_schemas
from .error_mapping import api_error
from .loaded_adapters import LoadedAdapters
from .message_conversion import MessageConversion


class VllmPolicy:
    """A `PolicyEngine` on a running vLLM engine."""

    def __init__(
        self,
        chat: OpenAIServingChat,
        completion: OpenAIServingCompletion,
        messages: AnthropicServingMessages,
        tokenization: ServingTokenization,
        policy_settings: PolicySettings,
        client: EngineClient,
        setup: Mapping[str, Any],
        adapters: LoadedAdapters,
    ) -> None:
        """Keep what the requests need.

        Args:
            chat: vLLM's chat handler of the policy.
            completion: vLLM's handler of the policy for text completions.
            messages: vLLM's handler of Anthropic's Messages API, of which only the converters are used.
            tokenization: vLLM's handler of the policy for tokens.
            policy_settings: the settings for all chat requests.
            client: vLLM's client of the engine.
            setup: what the answers depend on, besides the adapters that come later.
            adapters: the LoRA adapters of the engine.
        """
        self._chat = chat
        self._completion = completion
        self._messages = messages
        self._tokenization = tokenization
        self._policy_settings = policy_settings
        self._client = client
        self._setup = setup
        self._adapters = adapters

    @property
    def alive(self) -> bool:
        return not self._client.errored

    @property
    def max_model_len(self) -> int:
        length: int = self._chat.model_config.max_model_len
        return length

    @property
    def setup(self) -> Mapping[str, Any]:
        return {**self._setup, "adapters": self._adapters.digests}

    @property
    def tiling(self) -> TilingConfig:
        return self._policy_settings.checkpoint.tiling

    @property
    def adapters(self) -> Collection[str]:
        return self._adapters.names

    async def load_adapter(self, name: str, folder: Path) -> None:
        await self._adapters.load(name, folder)

    async def unload_adapter(self, name: str) -> None:
        await self._adapters.unload(name)

    async def complete(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> dict[str, Any]:
        chat_run = await self._chat_run(body, choose, media, count)
        with self._adapters.use(body["model"]):
            reply = await chat_run.answer()
        if not isinstance(reply, ChatCompletionResponse):
            raise api_error(reply)
        return add_vision_report(await reply_body(reply), chat_run.prompt_stats)

    async def stream(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        media: Media,
        count: CountTokens,
    ) -> AsyncGenerator[str, None]:
        chat_run = await self._chat_run(body, choose, media, count)
        with self._adapters.use(body["model"]):
            events = await chat_run.answer()
        if isinstance(events, ErrorResponse):
            raise api_error(events)
        return self._adapters.held(body["model"], reword_errors(events, chat_run))

    async def complete_text(
        self, body: Mapping[str, Any], *, count: CountTokens
    ) -> dict[str, Any] | AsyncGenerator[str, None]:
        await check_structural_tags(body, self._policy_settings.grammars)
        run = CompletionRun(self._completion, self._policy_settings, body, count)
        with self._adapters.use(body["model"]):
            reply = await run.answer()
        if isinstance(reply, CompletionResponse):
            return reply.model_dump(mode="json")
        return self._adapters.held(body["model"], reply)

    def convert_response(self, body: Mapping[str, Any]) -> ResponseConversion:
        return ResponseConversion(
            body, sampling=self._chat.default_sampling_params, most_tokens=self.max_model_len
        )

    def convert_message(self, body: Mapping[str, Any], *, counts_tokens: bool) -> MessageConversion:
        return MessageConversion(self._messages, body, counts_tokens=counts_tokens)

    def api_schemas(self) -> Mapping[str, Any]:
        return api_schemas()

    async def _chat_run(
        self, body: Mapping[str, Any], choose: ChooseCandidates | None, media: Media, count: CountTokens
    ) -> ChatRun:
        await check_structural_tags(body, self._policy_settings.grammars)
        return ChatRun(self._chat, self._policy_settings, body, choose, media, count)

    async def render(self, body: Mapping[str, Any], *, media: Media) -> RenderedPrompt:
        return await (await self._chat_run(body, None, media, ignore_tokens)).render()

    async def tokenize(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        request = TokenizeCompletionRequest(prompt=text, add_special_tokens=add_special_tokens)
        reply = await self._tokenization.create_tokenize(request, None)
        if isinstance(reply, ErrorResponse):
            raise api_error(reply)
        return reply.tokens

    def token_texts(self, token_ids: Sequence[int]) -> Sequence[str]:
        texts: list[str] = self._tokenization.renderer.get_tokenizer().convert_ids_to_tokens(list(token_ids))
        return texts

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        size = len(self._tokenization.renderer.get_tokenizer())
        if unknown := [token for token in token_ids if token >= size]:
            raise ApiError(
                f"tokens holds {unknown[0]}, but the vocabulary ends with {size - 1}. Correct it.",
                param="tokens",
            )
        reply = await self._tokenization.create_detokenize(DetokenizeRequest(tokens=list(token_ids)), None)
        if isinstance(reply, ErrorResponse):
            raise api_error(reply)
        return reply.prompt
