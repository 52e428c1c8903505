"""The embedded engines: policy and critic on vLLM, behind the seam of `engine`.

vLLM's own chat handler does the API's work: rendering, parsers, logprobs, chunks. Ours is which requests
reach the engines (`candidates`) and how errors are worded. `start_vllm` starts what is used here.
"""

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest, ChatCompletionResponse
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.exceptions import VLLMError

from model.config import Checkpoint
from model.tiling import TilingConfig
from ttscaling.types import Conversation, Critic, CriticError, StepScores

from .call import validation_error
from .candidates import FanOut
from .connector_vllm import MEDIA, RequestMedia
from .critic import StepCritic
from .engine import Choose
from .errors import ApiError
from .errors_vllm import api_error
from .report import add_vision
from .sight import Sight
from .system import with_system
from .tool_calls import read_answer
from .validation import Reading, Validation
from .videos import Videos
from .window import Windowed

ERROR_EVENT = 'data: {"error"'
MEDIA_USAGE = '"multimodal_tokens"'


@dataclass(frozen=True, kw_only=True)
class PolicyFacts:
    """What of the policy's checkpoint, the operator's settings and the critic decides how requests are
    answered.
    """

    checkpoint: Checkpoint
    system_message: str | None  # None or empty: nothing is put in front of a conversation
    critic_shares_tiles: bool


class VllmEngine:
    """`engine.Engine` over running vLLM engines: the policy's chat handler, the critic, and their clients,
    the policy's first.
    """

    def __init__(
        self,
        chat: OpenAIServingChat,
        facts: PolicyFacts,
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
        self, body: Mapping[str, Any], choose: Choose | None = None, *, videos: Videos
    ) -> dict[str, Any]:
        running = _Running(self._chat, self._facts, body, choose, videos)
        reply = await running.answer()
        if not isinstance(reply, ChatCompletionResponse):
            raise api_error(reply)
        return add_vision(reply.model_dump(mode="json"), running.sight)

    async def stream(
        self, body: Mapping[str, Any], choose: Choose | None = None, *, videos: Videos
    ) -> AsyncGenerator[str, None]:
        running = _Running(self._chat, self._facts, body, choose, videos)
        events = await running.answer()
        if isinstance(events, ErrorResponse):
            raise api_error(events)
        return _reworded(events, running)

    async def score(
        self, conversation: Conversation, answers: Sequence[Sequence[str]], *, videos: Videos
    ) -> Sequence[StepScores | ApiError]:
        MEDIA.set(RequestMedia(videos))
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


class _Running:
    """One request in vLLM's chat handler: a copy of it, whose engine client is a stand-in."""

    def __init__(
        self,
        chat: OpenAIServingChat,
        facts: PolicyFacts,
        body: Mapping[str, Any],
        choose: Choose | None,
        videos: Videos,
    ) -> None:
        MEDIA.set(RequestMedia(videos))
        self._request = _request({**body, "messages": with_system(body["messages"], facts.system_message)})
        self._windowed = Windowed(
            chat.engine_client,
            window=facts.checkpoint.window,
            tokens_per_tile=facts.checkpoint.tokens_per_tile,
            answer=self._request.max_completion_tokens or self._request.max_tokens,
        )
        self._fan_out = None
        if choose is not None:
            streamed = bool(self._request.stream)
            complaint = Validation(body, self._read).complaint
            self._fan_out = FanOut(self._windowed, choose, streamed=streamed, complaint=complaint)
        self._handler = copy.copy(chat)
        self._handler.engine_client = self._fan_out or self._windowed

    @property
    def sight(self) -> Sight | None:
        """The rendered prompt's; None before it was rendered."""
        return self._windowed.sight

    @property
    def failure(self) -> Exception | None:
        """What ended the choice."""
        return None if self._fan_out is None else self._fan_out.failure

    async def answer(self) -> Any:
        try:
            return await self._handler.create_chat_completion(self._request)
        except ApiError:
            raise
        except Exception as error:
            raise api_error(error) from error

    def _read(self, text: str, token_ids: Sequence[int]) -> Reading:
        """A candidate as the reply would show it."""
        parser = None if self._handler.parser_cls is None else self._parser
        auto = self._handler.enable_auto_tools
        return read_answer(parser, self._request, auto=auto, text=text, token_ids=token_ids)

    def _parser(self) -> Any:
        handler = self._handler
        options = handler._effective_chat_template_kwargs(self._request)
        return handler._make_parser(self._request, handler.renderer.tokenizer, options)


def _request(body: Mapping[str, Any]) -> ChatCompletionRequest:
    """vLLM's request. Its validators run on whatever a client sent: what they raise is not a closed set."""
    try:
        return ChatCompletionRequest.model_validate(dict(body))
    except ValidationError as error:
        raise validation_error(error) from None
    except VLLMError as error:
        raise api_error(error) from None
    except (TypeError, ValueError, AttributeError, KeyError):
        raise ApiError("A field of the request has a type or value that the API does not allow.") from None


async def _reworded(events: AsyncGenerator[str, None], running: _Running) -> AsyncGenerator[str, None]:
    """vLLM's events, errors in our words. One before any event is raised: it can still have a status. The
    first says how the prompt's media were seen.
    """
    begun = False
    async for event in events:
        if event.startswith(ERROR_EVENT):
            failure = running.failure
            reported = ErrorResponse.model_validate_json(event.removeprefix("data: "))
            error = failure if isinstance(failure, ApiError) else api_error(failure or reported)
            if not begun:
                raise error
            event = f"data: {json.dumps(error.body)}\n\n"
        elif not begun or MEDIA_USAGE in event:
            sight = None if begun else running.sight
            chunk = add_vision(json.loads(event.removeprefix("data: ")), sight)
            event = f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"
        begun = True
        yield event
