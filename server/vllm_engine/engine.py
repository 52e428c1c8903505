"""The embedded engines: policy and critic on vLLM, behind the seam of `engine`.

vLLM's own chat handler does the API's work: rendering, parsers, logprobs, chunks. Ours is which requests
reach the engines (`candidates`) and how errors are worded. `start_vllm` starts what is used here.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse

from model.images.tiling import TilingConfig
from server.engine_interface import ChooseCandidates
from server.errors import ApiError
from server.request_media import RequestMedia, Videos
from server.vllm_engine.critic.step_critic import StepCritic
from server.vllm_engine.policy.chat_run import ChatRun, PolicySettings, reworded
from server.vllm_engine.policy.prompt_stats import add_vision_report
from ttscaling.types import Conversation, Critic, CriticError, StepScores

from .error_mapping import api_error
from .media_connector import CURRENT_MEDIA


class VllmEngine:
    """`engine.Engine` over running vLLM engines: the policy's chat handler, the critic, and their clients,
    the policy's first.
    """

    def __init__(
        self,
        chat: OpenAIServingChat,
        facts: PolicySettings,
        critic: StepCritic | None,
        clients: Sequence[EngineClient],
        metrics: Callable[[], bytes],
    ) -> None:
        self._chat = chat
        self._facts = facts
        self._critic = critic
        self._clients = clients
        self._metrics = metrics

    @property
    def critic(self) -> Critic | None:
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
    def tiling(self) -> TilingConfig:
        return self._facts.checkpoint.tiling

    @property
    def critic_shares_tiles(self) -> bool:
        return self._facts.critic_shares_tiles

    async def complete(
        self, body: Mapping[str, Any], choose: ChooseCandidates | None = None, *, videos: Videos
    ) -> dict[str, Any]:
        running = ChatRun(self._chat, self._facts, body, choose, videos)
        reply = await running.answer()
        if not isinstance(reply, ChatCompletionResponse):
            raise api_error(reply)
        return add_vision_report(reply.model_dump(mode="json"), running.sight)

    async def stream(
        self, body: Mapping[str, Any], choose: ChooseCandidates | None = None, *, videos: Videos
    ) -> AsyncGenerator[str, None]:
        running = ChatRun(self._chat, self._facts, body, choose, videos)
        events = await running.answer()
        if isinstance(events, ErrorResponse):
            raise api_error(events)
        return reworded(events, running)

    async def score(
        self, conversation: Conversation, answers: Sequence[Sequence[str]], *, videos: Videos
    ) -> Sequence[StepScores | ApiError]:
        CURRENT_MEDIA.set(RequestMedia(videos))
        return await asyncio.gather(*(self._score(conversation, steps) for steps in answers))

    async def _score(self, conversation: Conversation, steps: Sequence[str]) -> StepScores | ApiError:
        assert self._critic is not None, "scoring without a critic"
        try:
            return await self._critic.score_steps(conversation, steps)
        except CriticError as error:
            return ApiError(f"The critic failed: {error}. Retry.", status=503, code="critic_failed")
        except ApiError as error:
            return error
        except Exception as error:  # what a client sent is among these, in vLLM's words
            return api_error(error)

    def metrics(self) -> bytes:
        return self._metrics()

    def close(self) -> None:
        for client in self._clients:
            client.shutdown()
