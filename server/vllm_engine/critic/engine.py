"""The critic on vLLM: the implementation of `server.engine_interface.CriticEngine`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from vllm.engine.protocol import EngineClient

from model.checkpoint.description import Checkpoint
from server.engine_interface import CountTokens
from server.errors import ApiError
from server.request_media import Media
from server.vllm_engine.error_mapping import api_error
from server.vllm_engine.media_connector import CURRENT_MEDIA
from ttscaling.types import Conversation, CriticError, StepScores

from .step_critic import StepCritic


class VllmCritic:
    """A `CriticEngine` on a running vLLM engine."""

    comes_back = False  # vLLM doesn't start an engine's process again

    def __init__(
        self,
        step_critic: StepCritic,
        client: EngineClient,
        checkpoint: Checkpoint,
        setup: Mapping[str, Any],
    ) -> None:
        """Keep what the requests need.

        Args:
            step_critic: scores with the engine.
            client: vLLM's client of the engine.
            checkpoint: the critic's checkpoint.
            setup: what the scores depend on.
        """
        self._step_critic = step_critic
        self._client = client
        self._checkpoint = checkpoint
        self._setup = setup

    @property
    def name(self) -> str:
        return self._step_critic.name

    @property
    def alive(self) -> bool:
        return not self._client.errored

    @property
    def tile_size(self) -> int:
        return self._checkpoint.tiling.tile_size

    @property
    def v2pe_delta(self) -> float:
        return self._checkpoint.v2pe_delta

    @property
    def setup(self) -> Mapping[str, Any]:
        return self._setup

    def keeps_scores(self, vision: Mapping[str, Any]) -> bool:
        return self._step_critic.keeps_scores(vision)

    async def score(
        self, conversation: Conversation, answer: str, *, media: Media, count: CountTokens
    ) -> StepScores:
        CURRENT_MEDIA.set(media)
        return await self._step_critic.score(conversation, answer, count)

    async def score_answers(
        self,
        conversation: Conversation,
        answers: Sequence[Sequence[str]],
        *,
        media: Media,
        count: CountTokens,
    ) -> Sequence[StepScores | ApiError]:
        CURRENT_MEDIA.set(media)
        return await asyncio.gather(*(self._score(conversation, steps, count) for steps in answers))

    async def _score(
        self, conversation: Conversation, steps: Sequence[str], count: CountTokens
    ) -> StepScores | ApiError:
        try:
            return await self._step_critic.score_steps(conversation, steps, count)
        except CriticError as error:
            return ApiError(f"The critic failed: {error}. Retry.", status=503, code="critic_failed")
        except ApiError as error:
            return error
        except Exception as error:  # includes vLLM's refusals of what the client sent
            return api_error(error)
