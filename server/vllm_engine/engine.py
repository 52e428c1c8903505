"""The policy and the critic on vLLM: the implementation of `server/engine_interface.py`.

vLLM's chat handler does most of the API's work: rendering, parsers, logprobs and chunks. This package decides
which requests reach the engines (`policy/candidates.py`) and words the errors (`error_mapping.py`).
`start.py` starts the engines.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeCompletionRequest
from vllm.entrypoints.serve.tokenize.serving import ServingTokenization

from model.images.tiling import TilingConfig
from server.engine_interface import ChooseCandidates, CountTokens, EngineCritic, RenderedPrompt, ignore_tokens
from server.errors import ApiError
from server.request_media import RequestMedia, Videos
from server.vllm_engine.critic.step_critic import StepCritic
from server.vllm_engine.grammars.request_tags import check_structural_tags
from server.vllm_engine.policy.chat_run import ChatRun, PolicySettings, reword_errors
from server.vllm_engine.policy.prompt_stats import add_vision_report
from server.vllm_engine.policy.reply_body import reply_body
from ttscaling.types import Conversation, CriticError, StepScores

from .error_mapping import api_error
from .media_connector import CURRENT_MEDIA


class VllmEngine:
    """An `Engine` on running vLLM engines."""

    def __init__(
        self,
        chat: OpenAIServingChat,
        tokenization: ServingTokenization,
        policy_settings: PolicySettings,
        critic: StepCritic | None,
        clients: Sequence[EngineClient],
        metrics: Callable[[], bytes],
        setup: Mapping[str, Any],
    ) -> None:
        """Keep what the requests need.

        Args:
            chat: vLLM's chat handler of the policy.
            tokenization: vLLM's handler of the policy for tokens.
            policy_settings: the settings for all chat requests.
            critic: None if the server runs without a critic.
            clients: the clients of all engines. The first one is the policy's.
            metrics: returns the engines' metrics in Prometheus' text format.
            setup: what the answers and scores depend on.
        """
        self._chat = chat
        self._tokenization = tokenization
        self._policy_settings = policy_settings
        self._critic = critic
        self._clients = clients
        self._metrics = metrics
        self._setup = setup

    @property
    def critic(self) -> EngineCritic | None:
        return self._critic

    @property
    def alive(self) -> bool:
        return not self._clients[0].errored

    @property
    def critic_alive(self) -> bool:
        return not any(client.errored for client in self._clients[1:])

    @property
    def max_model_len(self) -> int:
        length: int = self._chat.model_config.max_model_len
        return length

    @property
    def setup(self) -> Mapping[str, Any]:
        return self._setup

    @property
    def tiling(self) -> TilingConfig:
        return self._policy_settings.checkpoint.tiling

    @property
    def critic_shares_tiles(self) -> bool:
        return self._policy_settings.critic_shares_tiles

    async def complete(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        videos: Videos,
        count: CountTokens,
    ) -> dict[str, Any]:
        chat_run = await self._chat_run(body, choose, videos, count)
        reply = await chat_run.answer()
        if not isinstance(reply, ChatCompletionResponse):
            raise api_error(reply)
        return add_vision_report(await reply_body(reply), chat_run.prompt_stats)

    async def stream(
        self,
        body: Mapping[str, Any],
        choose: ChooseCandidates | None = None,
        *,
        videos: Videos,
        count: CountTokens,
    ) -> AsyncGenerator[str, None]:
        chat_run = await self._chat_run(body, choose, videos, count)
        events = await chat_run.answer()
        if isinstance(events, ErrorResponse):
            raise api_error(events)
        return reword_errors(events, chat_run)

    async def _chat_run(
        self, body: Mapping[str, Any], choose: ChooseCandidates | None, videos: Videos, count: CountTokens
    ) -> ChatRun:
        await check_structural_tags(body, self._policy_settings.grammars)
        return ChatRun(self._chat, self._policy_settings, body, choose, videos, count)

    async def render(self, body: Mapping[str, Any], *, videos: Videos) -> RenderedPrompt:
        return await (await self._chat_run(body, None, videos, ignore_tokens)).render()

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

    async def score(
        self,
        conversation: Conversation,
        answers: Sequence[Sequence[str]],
        *,
        videos: Videos,
        count: CountTokens,
    ) -> Sequence[StepScores | ApiError]:
        CURRENT_MEDIA.set(RequestMedia(videos))
        return await asyncio.gather(*(self._score(conversation, steps, count) for steps in answers))

    async def _score(
        self, conversation: Conversation, steps: Sequence[str], count: CountTokens
    ) -> StepScores | ApiError:
        assert self._critic is not None, "scoring without a critic"
        try:
            return await self._critic.score_steps(conversation, steps, count)
        except CriticError as error:
            return ApiError(f"The critic failed: {error}. Retry.", status=503, code="critic_failed")
        except ApiError as error:
            return error
        except Exception as error:  # includes vLLM's refusals of what the client sent
            return api_error(error)

    def metrics(self) -> bytes:
        return self._metrics()

    async def close(self) -> None:
        self._policy_settings.grammars.close()
        # vLLM gives each process five seconds and then kills it, so the engines stop side by side.
        await asyncio.gather(*(asyncio.to_thread(client.shutdown) for client in self._clients))
