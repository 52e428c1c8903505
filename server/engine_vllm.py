"""The embedded engines: policy and critic on vLLM, behind the seam of `engine`.

vLLM's own chat handler does the API's work: rendering, parsers, logprobs, chunks. Ours is which requests
reach the engines (`candidates`) and how errors are worded. `start_vllm` starts what is used here.
"""

import asyncio
import copy
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError
from vllm import SamplingParams
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest, ChatCompletionResponse
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve import create_error_response
from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse
from vllm.exceptions import VLLMError
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.sampling_params import RequestOutputKind
from vllm.utils import random_uuid

from ttscaling.critic import MINUS, PLUS
from ttscaling.types import Critic, CriticError, Message

from .call import validation_error
from .candidates import FanOut
from .critic import Reading
from .engine import Choose
from .errors import ApiError, internal_error

logger = logging.getLogger("internvl3.engine")
TOO_LONG = "context_length_exceeded"
INLINE_ONLY = "internvl3"  # our media connector's name in vLLM's registry
# Images decoded for the request at hand, by their data: URL. A choice renders its images once for the
# policy and again for every judged step; without this each time would decode them.
DECODED: ContextVar[dict[str, asyncio.Task[Any]] | None] = ContextVar("decoded", default=None)
ERROR_EVENT = 'data: {"error"'


@MEDIA_CONNECTOR_REGISTRY.register(INLINE_ONLY)
class InlineMedia(MediaConnector):
    """vLLM's way to media, narrowed to data: URLs. Whatever a client named has been fetched and checked
    before; should a URL ever get past that, it ends here.
    """

    def load_from_url(self, url: str, media_io: Any, **options: Any) -> Any:
        return super().load_from_url(_inline(url), media_io, **options)

    async def load_from_url_async(self, url: str, media_io: Any, **options: Any) -> Any:
        return await super().load_from_url_async(_inline(url), media_io, **options)

    async def fetch_image_async(self, image_url: str, **options: Any) -> Any:
        decoded = DECODED.get()
        if decoded is None:
            return await super().fetch_image_async(image_url, **options)
        if image_url not in decoded:
            decoded[image_url] = asyncio.create_task(super().fetch_image_async(image_url, **options))
        return await asyncio.shield(decoded[image_url])  # others may wait for it


class VllmEngine:
    """`engine.Engine` over running vLLM engines: the policy's chat handler, the critic, and all their
    clients.
    """

    def __init__(
        self,
        chat: OpenAIServingChat,
        critic: Critic | None,
        clients: Sequence[EngineClient],
        metrics: Callable[[], bytes],
    ) -> None:
        self._chat = chat
        self._critic = critic
        self._clients = clients
        self._metrics = metrics

    @property
    def critic(self) -> Critic | None:
        return self._critic

    @property
    def alive(self) -> bool:
        return not any(client.errored for client in self._clients)

    @property
    def max_model_len(self) -> int:
        length: int = self._chat.model_config.max_model_len
        return length

    async def complete(self, body: Mapping[str, Any], choose: Choose | None = None) -> dict[str, Any]:
        handler, _ = self._handler(choose, streamed=False)
        reply = await _answer(handler, _request(body))
        if not isinstance(reply, ChatCompletionResponse):
            raise _api_error(reply)
        dumped: dict[str, Any] = reply.model_dump(mode="json")
        return dumped

    async def stream(
        self, body: Mapping[str, Any], choose: Choose | None = None
    ) -> AsyncGenerator[str, None]:
        handler, fan_out = self._handler(choose, streamed=True)
        events = await _answer(handler, _request(body))
        if isinstance(events, ErrorResponse):
            raise _api_error(events)
        return _reworded(events, fan_out)

    def metrics(self) -> bytes:
        return self._metrics()

    def close(self) -> None:
        for client in self._clients:
            client.shutdown()

    def _handler(self, choose: Choose | None, *, streamed: bool) -> tuple[OpenAIServingChat, FanOut | None]:
        """vLLM's handler; for a choice a copy of it whose engine client is the stand-in."""
        if choose is None:
            return self._chat, None
        DECODED.set({})
        handler = copy.copy(self._chat)
        fan_out = FanOut(handler.engine_client, choose, streamed=streamed)
        handler.engine_client = fan_out
        return handler, fan_out


async def read_labels(
    client: EngineClient,
    renderer: OnlineRenderer,
    labels: tuple[int, int],
    messages: Sequence[Message],
    vision: Mapping[str, Any],
) -> Reading:
    """`critic.Read` on a vLLM engine: one greedy token with the log-probabilities of the two label ids (+,
    -).
    """
    request = ChatCompletionRequest(messages=list(messages), mm_processor_kwargs=dict(vision) or None)
    rendered = await renderer.render_chat(request)
    if isinstance(rendered, ErrorResponse):
        raise CriticError(rendered.error.message)
    _, (prompt,) = rendered
    params = SamplingParams(
        max_tokens=1,
        temperature=0.0,
        logprob_token_ids=list(labels),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    async for output in client.generate(prompt, params, f"judge-{random_uuid()}"):
        logprobs = output.outputs[0].logprobs
        if not logprobs:
            raise CriticError(f"the critic ended with {output.outputs[0].finish_reason}, unread")
        plus, minus = (logprobs[0][label].logprob for label in labels)
        return Reading(
            plus=plus,
            minus=minus,
            prompt_tokens=len(output.prompt_token_ids),
            cached_tokens=output.num_cached_tokens or 0,
        )
    raise CriticError("the critic's engine returned nothing")


def label_ids(renderer: OnlineRenderer) -> tuple[int, int]:
    """Token ids of '+' and '-'; raises ValueError where the critic's tokenizer splits them."""
    tokenizer = renderer.renderer.get_tokenizer()
    found = [tokenizer.encode(label, add_special_tokens=False) for label in (PLUS, MINUS)]
    if any(len(ids) != 1 for ids in found):
        raise ValueError("the critic's tokenizer has no single token for each of '+' and '-'")
    return found[0][0], found[1][0]


def _inline(url: str) -> str:
    if not url.startswith("data:"):
        raise ValueError("media must be inline")
    return url


def _request(body: Mapping[str, Any]) -> ChatCompletionRequest:
    """vLLM's request. Its validators run on whatever a client sent: what they raise is not a closed set."""
    try:
        return ChatCompletionRequest.model_validate(dict(body))
    except ValidationError as error:
        raise validation_error(error) from None
    except VLLMError as error:
        raise _api_error(error) from None
    except (TypeError, ValueError, AttributeError, KeyError):
        raise ApiError("A field of the request has a type or value that the API does not allow.") from None


async def _answer(handler: OpenAIServingChat, request: ChatCompletionRequest) -> Any:
    try:
        return await handler.create_chat_completion(request)
    except ApiError:
        raise
    except Exception as error:
        raise _api_error(error) from error


async def _reworded(events: AsyncGenerator[str, None], fan_out: FanOut | None) -> AsyncGenerator[str, None]:
    """vLLM's events, errors in our words. One before any event is raised: it can still have a status."""
    begun = False
    async for event in events:
        if event.startswith(ERROR_EVENT):
            failure = fan_out.failure if fan_out is not None else None
            reported = ErrorResponse.model_validate_json(event.removeprefix("data: "))
            error = failure if isinstance(failure, ApiError) else _api_error(failure or reported)
            if not begun:
                raise error
            event = f"data: {json.dumps(error.body)}\n\n"
        begun = True
        yield event


def _api_error(error: ErrorResponse | Exception) -> ApiError:
    """vLLM's refusal as ours. Failures of the server keep their details for the log."""
    reported = error if isinstance(error, ErrorResponse) else create_error_response(error)
    info: ErrorInfo = reported.error
    if info.code == HTTPStatus.SERVICE_UNAVAILABLE:
        return ApiError("The engine is busy. Retry in a few seconds.", status=503, code="engine_busy")
    if info.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = error if isinstance(error, Exception) else None
        logger.error("the engine failed: %s", info.message, exc_info=cause)
        return internal_error()
    # vLLM's errors repeat parameter and value in brackets behind the sentence; here they are fields.
    message = str(error.args[0]) if isinstance(error, VLLMError) and error.args else info.message
    if "context length" in message:
        advice = "Shorten the messages, send fewer or smaller images, or lower max_dynamic_patch."
        return ApiError(f"{message} {advice}", param=info.param or "messages", code=TOO_LONG)
    if "model's window" in message:  # our processor's, which says what to do
        return ApiError(message, param="messages", code=TOO_LONG)
    status = 404 if info.code == HTTPStatus.NOT_FOUND else 400
    return ApiError(message, status=status, param=info.param)
