"""Turn vLLM's reply into a dict, with many log-probabilities in a thread, so that other requests go on."""

import asyncio
from collections.abc import Sequence
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse

MANY = 1000  # tokens with log-probabilities; each takes up to a tenth of a millisecond


async def reply_body(reply: ChatCompletionResponse) -> dict[str, Any]:
    """Return the reply as a dict that JSON can hold.

    pydantic lets nothing else run until it is done, not even in another thread. So the tokens of a choice,
    each with up to 20 alternatives, are turned one by one.
    """
    tokens = [choice.logprobs.content or [] if choice.logprobs else [] for choice in reply.choices]
    if sum(map(len, tokens)) < MANY:
        return reply.model_dump(mode="json")
    body = reply.model_dump(mode="json", exclude={"choices": {"__all__": {"logprobs": {"content"}}}})
    for choice, of_choice in zip(body["choices"], tokens, strict=True):
        if choice["logprobs"] is not None:
            choice["logprobs"]["content"] = await asyncio.to_thread(_dicts, of_choice)
    return body


def _dicts(tokens: Sequence[Any]) -> list[dict[str, Any]]:
    return [token.model_dump(mode="json") for token in tokens]
