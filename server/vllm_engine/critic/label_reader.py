"""Read a critic's label logits from a vLLM engine that runs `model.plugin.network.critic_head`."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from vllm import PoolingParams
from vllm.engine.protocol import EngineClient
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.utils import random_uuid

from model.plugin.architectures import CRITIC_TASK
from server.engine_interface import CountTokens
from server.errors import TOO_LONG, ApiError
from server.vllm_engine.aborting import read_or_abort
from ttscaling.critic_prompt import MINUS, PLUS
from ttscaling.types import Conversation, CriticError, Message, TokenUsage

from .step_critic import LabelLogits

# Answers that are rendered at the same time. A long one takes some hundredths of a second of the event loop,
# and all answers of a request together would leave no time for other requests.
MAX_RENDERING = 2


@dataclass(frozen=True, kw_only=True)
class LabelSlot:
    """The token ids of a critic's label slot: the role tag before an assistant's turn, and the labels."""

    tag: tuple[int, ...]
    labels: tuple[int, int]  # of + and of -


class PoolingReader:
    """`step_critic.ReadLabels` on a vLLM engine.

    One prompt holds the question and all steps. The engine returns the label logits at the end of each
    assistant role tag. It computes no logits for tokens that it finds in its prefix cache. For each such tag
    a second prompt is sent that ends at this tag. The engine computes the last token of every prompt, so this
    costs at most one cache block.
    """

    def __init__(
        self, client: EngineClient, renderer: OnlineRenderer, slot: LabelSlot, *, window: int
    ) -> None:
        """`window` is the number of positions that the critic was trained with."""
        self._window = window
        self._client = client
        self._renderer = renderer
        self._slot = slot
        self._rendering = asyncio.Semaphore(MAX_RENDERING)

    async def __call__(
        self,
        prefixes: Sequence[Sequence[Message]],
        step_indices: Sequence[int],
        conversation: Conversation,
        count: CountTokens,
    ) -> LabelLogits:
        """Return the label logits after the steps at these indices, in their order.

        Args:
            prefixes: for each step of the answer the messages that end with it; each contains the one before.
            step_indices: indices of `prefixes`.
            conversation: the question; its media are seen and cached as it says, and its priority is that of
                the engine's requests.
            count: gets the tokens of each engine request, also if this call then fails or is cancelled.

        Raises:
            ApiError: 400, if the text is longer than the critic's window.
            CriticError: the engine returned no logits.
        """
        try:
            return await self._read(prefixes, step_indices, conversation, count)
        except _MediaForgotten:
            return await self._read(prefixes, step_indices, conversation, count, with_tiles=True)

    async def _read(
        self,
        prefixes: Sequence[Sequence[Message]],
        step_indices: Sequence[int],
        conversation: Conversation,
        count: CountTokens,
        *,
        with_tiles: bool = False,
    ) -> LabelLogits:
        prompt = await self._render(prefixes[-1], conversation, with_tiles)
        length = len(prompt["prompt_token_ids"])
        # Our processor checks the length of prompts with media.
        if not prompt.get("mm_placeholders") and length > self._window:
            raise ApiError(
                f"The question and an answer's steps take {length} tokens, but the critic's window is "
                f"{self._window}. Shorten the messages or the answer.",
                param="messages",
                code=TOO_LONG,
            )
        priority = conversation.priority
        ends = tag_ends(self._slot.tag, prompt["prompt_token_ids"])
        if len(ends) == len(prefixes):
            token_indices = [ends[step] for step in step_indices]
            logits = await self._request_logits(
                _cut(prompt, token_indices[-1]), token_indices, priority, count
            )
            for token_index in [token_index for token_index in token_indices if token_index not in logits]:
                logits |= await self._request_logits(
                    _cut(prompt, token_index), [token_index], priority, count
                )
        else:  # special tokens are trusted, and a step contains the tag: only a prompt per step shows its end
            token_indices, logits = [], {}
            for step in step_indices:
                step_prompt = await self._render(prefixes[step], conversation, with_tiles)
                token_indices.append(len(step_prompt["prompt_token_ids"]) - 1)
                logits |= await self._request_logits(step_prompt, token_indices[-1:], priority, count)
        return [logits[token_index] for token_index in token_indices]

    async def _render(
        self, messages: Sequence[Message], conversation: Conversation, with_tiles: bool
    ) -> Mapping[str, Any]:
        async with self._rendering:
            return await render(
                self._renderer,
                ChatCompletionRequest(
                    messages=list(messages),
                    mm_processor_kwargs=dict(conversation.mm_processor_kwargs) or None,
                    cache_salt=conversation.cache_salt,
                ),
                with_tiles=with_tiles,
            )

    async def _request_logits(
        self, prompt: Mapping[str, Any], token_indices: Sequence[int], priority: int, count: CountTokens
    ) -> dict[int, tuple[float, float]]:
        """Return the logits of + and - at those indices that the engine computes.

        It always computes the last token.
        """
        params = PoolingParams(
            task=CRITIC_TASK,
            skip_reading_prefix_cache=False,
            extra_kwargs={"token_indices": list(token_indices), "token_ids": list(self._slot.labels)},
        )
        request_id = f"judge-{random_uuid()}"

        async def read() -> dict[int, tuple[float, float]]:
            async for output in self._client.encode(prompt, params, request_id, priority=priority):
                return _counted_logits(output, count)
            raise CriticError("the critic's engine returned nothing")

        return await read_or_abort(read(), self._client, request_id)


def _counted_logits(output: Any, count: CountTokens) -> dict[int, tuple[float, float]]:
    """Return the logits in vLLM's output, and count its tokens.

    An output without logits belongs to a request that the engine hasn't read: it was aborted before, or its
    image was missing. vLLM's counters leave such requests out, too.
    """
    logits = {int(token_index): (plus, minus) for token_index, plus, minus in output.outputs.data.tolist()}
    prompt_tokens = len(output.prompt_token_ids)
    if logits:
        count(TokenUsage(critic_prompt=prompt_tokens, critic_cached=output.num_cached_tokens))
    if output.error is not None and output.error.retryable:
        raise _MediaForgotten
    if prompt_tokens - 1 not in logits:
        raise CriticError("the critic's engine ended a request before it returned the logits")
    return logits


class _MediaForgotten(CriticError):
    """The engine has dropped an image that the renderer believed to be in the engine's cache."""


async def render(
    renderer: OnlineRenderer, request: ChatCompletionRequest, *, with_tiles: bool = False
) -> Mapping[str, Any]:
    """Return the engine's input for a conversation. Raise CriticError if vLLM can't render it.

    The input holds the tiles of an image only if the engine seems to have no copy of them, unless
    `with_tiles` is true. Then it always holds them.
    """
    rendered = await renderer.render_chat(request, skip_mm_cache=with_tiles)
    if isinstance(rendered, ErrorResponse):
        raise CriticError(rendered.error.message)
    _, (prompt,) = rendered
    return prompt


async def find_label_slot(renderer: OnlineRenderer) -> LabelSlot:
    """Return the label slot as the critic's chat template and tokenizer write it.

    The ids of the labels are read from a rendered conversation, because a tokenizer may encode a label alone
    as another token.

    Raises:
        ValueError: the template has no role tag before an assistant's turn, or a label isn't one token there.
    """

    async def ids(*answer: Message, tagged: bool = False) -> list[int]:
        messages: Any = [{"role": "user", "content": "?"}, *answer]
        request = ChatCompletionRequest(messages=messages, add_generation_prompt=tagged)
        return list((await render(renderer, request))["prompt_token_ids"])

    question, tagged = await ids(), await ids(tagged=True)
    plus, minus = [await ids({"role": "assistant", "content": label}) for label in (PLUS, MINUS)]
    at = len(tagged)
    if tagged[: len(question)] != question or tagged == question:
        raise ValueError(
            "the critic's chat template puts no role tag before an assistant's turn; correct the template"
        )
    if not plus[:at] == minus[:at] == tagged or plus[at : at + 1] == minus[at : at + 1]:
        raise ValueError(
            "the critic's tokenizer joins '+' or '-' with the text before it; use another critic"
        )
    if plus[at + 1 :] != minus[at + 1 :]:
        raise ValueError(
            "the critic's tokenizer has no single token for each of '+' and '-'; use another critic"
        )
    return LabelSlot(tag=tuple(tagged[len(question) :]), labels=(plus[at], minus[at]))


def tag_ends(tag: Sequence[int], token_ids: Sequence[int]) -> list[int]:
    """Return the indices at which the tag ends in the tokens."""
    if len(tag) > len(token_ids):
        return []
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(token_ids), len(tag))
    return [int(begin) + len(tag) - 1 for begin in np.flatnonzero((windows == tag).all(axis=1))]


def _cut(prompt: Mapping[str, Any], token_index: int) -> Mapping[str, Any]:
    """Return the prompt up to this token. All its media stand before the first label slot, so none is cut."""
    return {**prompt, "prompt_token_ids": prompt["prompt_token_ids"][: token_index + 1]}
