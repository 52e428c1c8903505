"""The log-probabilities of a long answer are made in a thread, so that other requests go on meanwhile."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import PrivateAttr
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionLogProbs

MANY = 50  # tokens; each takes up to a fifth of a millisecond, with 20 alternatives


class LaterLogProbs(ChatCompletionLogProbs):
    """Log-probabilities whose `content` is empty, because they are still to be made."""

    _pieces: Iterator[ChatCompletionLogProbs] = PrivateAttr()

    def __init__(self, pieces: Iterator[ChatCompletionLogProbs]) -> None:
        """`pieces` makes them as it is read."""
        super().__init__()
        self._pieces = pieces

    async def dicts(self) -> list[dict[str, Any]]:
        """Make them, once, and return the `content` as JSON can hold it."""
        return await asyncio.to_thread(self._make)

    def _make(self) -> list[dict[str, Any]]:
        # One call of pydantic lets nothing else run until it is done, so each token has a call.
        return [token.model_dump(mode="json") for piece in self._pieces for token in piece.content or ()]


def made_later(
    create: Callable[..., ChatCompletionLogProbs],
) -> Callable[..., ChatCompletionLogProbs]:
    """Return vLLM's function that makes the log-probabilities of an answer, with long ones left for later.

    The function gets the tokens and the log-probabilities of each by the names that vLLM's handler uses.
    """

    def create_later(
        *, token_ids: Sequence[int], top_logprobs: Sequence[Any], **options: Any
    ) -> ChatCompletionLogProbs:
        if len(token_ids) < MANY:
            return create(token_ids=token_ids, top_logprobs=top_logprobs, **options)
        return LaterLogProbs(
            create(token_ids=token_ids[index : index + 1], top_logprobs=[top_logprobs[index]], **options)
            for index in range(len(token_ids))
        )

    return create_later
