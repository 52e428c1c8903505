"""Reading a critic's labels from a vLLM engine that runs `model.plugin.network.critic_head`."""

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
from server.errors import TOO_LONG, ApiError
from ttscaling.critic_prompt import MINUS, PLUS
from ttscaling.types import CriticError, Message

from .step_critic import LabelLogits


@dataclass(frozen=True, kw_only=True)
class LabelSlot:
    """Where a critic judges, as token ids: what stands before an assistant's turn, and + and - in it."""

    tag: tuple[int, ...]
    labels: tuple[int, int]


class PoolingReader:
    """`critic.ReadLabels` on a vLLM engine.

    The whole conversation is one prompt, read at the end of every assistant role tag asked for. The prefix
    cache is read, so places within it don't come back: for each of them follows a prompt that ends there, of
    which the engine computes a block at most.
    """

    def __init__(
        self, client: EngineClient, renderer: OnlineRenderer, slot: LabelSlot, *, window: int
    ) -> None:
        """`window`: positions that the critic was trained with."""
        self._window = window
        self._client = client
        self._renderer = renderer
        self._slot = slot

    async def __call__(
        self, prefixes: Sequence[Sequence[Message]], wanted: Sequence[int], vision: Mapping[str, Any]
    ) -> LabelLogits:
        try:
            return await self._read(prefixes, wanted, vision)
        except _MediaForgotten:  # the engine dropped an image that the renderer believed it had
            return await self._read(prefixes, wanted, vision)

    async def _read(
        self, prefixes: Sequence[Sequence[Message]], wanted: Sequence[int], vision: Mapping[str, Any]
    ) -> LabelLogits:
        prompt = await self._render(prefixes[-1], vision)
        length = len(prompt["prompt_token_ids"])
        if not prompt.get("mm_placeholders") and length > self._window:  # others our processor refuses
            raise ApiError(
                f"The question with an answer's steps is {length} tokens; the critic's window is "
                f"{self._window}. Shorten them.",
                param="messages",
                code=TOO_LONG,
            )
        ends = ends_of(self._slot.tag, prompt["prompt_token_ids"])
        if len(ends) == len(prefixes):
            token_indices = [ends[step] for step in wanted]
            answers = [await self._request_logits(_cut(prompt, token_indices[-1]), token_indices)]
            missing = [token_index for token_index in token_indices if token_index not in answers[0].logits]
            answers += [
                await self._request_logits(_cut(prompt, token_index), [token_index])
                for token_index in missing
            ]
        else:  # a step that holds the tag itself: only its own prompt tells where it ends
            token_indices, answers = [], []
            for step in wanted:
                own = await self._render(prefixes[step], vision)
                token_indices.append(len(own["prompt_token_ids"]) - 1)
                answers.append(await self._request_logits(own, token_indices[-1:]))
        logits = {token_index: labels for answer in answers for token_index, labels in answer.logits.items()}
        return LabelLogits(
            logits=[logits[token_index] for token_index in token_indices],
            prompt_tokens=sum(answer.prompt_tokens for answer in answers),
            cached_tokens=sum(answer.cached_tokens for answer in answers),
        )

    async def _render(self, messages: Sequence[Message], vision: Mapping[str, Any]) -> Mapping[str, Any]:
        return await render(
            self._renderer,
            ChatCompletionRequest(messages=list(messages), mm_processor_kwargs=dict(vision) or None),
        )

    async def _request_logits(self, prompt: Mapping[str, Any], token_indices: Sequence[int]) -> "_Answer":
        """The labels' logits at those of the places that the engine computed: its last token always is."""
        params = PoolingParams(
            task=CRITIC_TASK,
            skip_reading_prefix_cache=False,
            extra_kwargs={"token_indices": list(token_indices), "token_ids": list(self._slot.labels)},
        )
        async for output in self._client.encode(prompt, params, f"judge-{random_uuid()}"):
            if output.error is not None and output.error.retryable:
                raise _MediaForgotten
            logits = {
                int(token_index): (plus, minus) for token_index, plus, minus in output.outputs.data.tolist()
            }
            if len(output.prompt_token_ids) - 1 not in logits:
                raise CriticError("the critic's engine ended a request before it was read")
            return _Answer(
                logits=logits,
                prompt_tokens=len(output.prompt_token_ids),
                cached_tokens=output.num_cached_tokens,
            )
        raise CriticError("the critic's engine returned nothing")


@dataclass(frozen=True, kw_only=True)
class _Answer:
    logits: Mapping[int, tuple[float, float]]  # by place
    prompt_tokens: int
    cached_tokens: int


class _MediaForgotten(CriticError):
    """The engine's cache of images and the renderer's list of what is in it differ."""


async def render(renderer: OnlineRenderer, request: ChatCompletionRequest) -> Mapping[str, Any]:
    """The engine's input for a conversation."""
    rendered = await renderer.render_chat(request)
    if isinstance(rendered, ErrorResponse):
        raise CriticError(rendered.error.message)
    _, (prompt,) = rendered
    return prompt


async def find_label_slot(renderer: OnlineRenderer) -> LabelSlot:
    """The slot as the critic's chat template and tokenizer write it.

    The labels' ids are taken from their place: by itself a tokenizer may write a label as another token.
    Raises ValueError where a label isn't one token there.
    """

    async def ids(*answer: Message, tagged: bool = False) -> list[int]:
        messages: Any = [{"role": "user", "content": "?"}, *answer]
        request = ChatCompletionRequest(messages=messages, add_generation_prompt=tagged)
        return list((await render(renderer, request))["prompt_token_ids"])

    question, asked = await ids(), await ids(tagged=True)
    plus, minus = [await ids({"role": "assistant", "content": label}) for label in (PLUS, MINUS)]
    at = len(asked)
    if asked[: len(question)] != question or asked == question:
        raise ValueError("the critic's chat template puts no role tag before an assistant's turn")
    if not plus[:at] == minus[:at] == asked or plus[at : at + 1] == minus[at : at + 1]:
        raise ValueError("the critic's tokenizer joins '+' or '-' to what stands before")
    if plus[at + 1 :] != minus[at + 1 :]:
        raise ValueError("the critic's tokenizer has no single token for each of '+' and '-'")
    return LabelSlot(tag=tuple(asked[len(question) :]), labels=(plus[at], minus[at]))


def ends_of(tag: Sequence[int], token_ids: Sequence[int]) -> list[int]:
    """Where in the tokens the tag ends: indices of its last token."""
    if len(tag) > len(token_ids):
        return []
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(token_ids), len(tag))
    return [int(begin) + len(tag) - 1 for begin in np.flatnonzero((windows == tag).all(axis=1))]


def _cut(prompt: Mapping[str, Any], token_index: int) -> Mapping[str, Any]:
    """The prompt up to this token. All media stand before the first place."""
    return {**prompt, "prompt_token_ids": prompt["prompt_token_ids"][: token_index + 1]}
