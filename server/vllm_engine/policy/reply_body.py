"""Turn vLLM's reply into a dict."""

from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse

from .later_logprobs import LaterLogProbs


async def reply_body(reply: ChatCompletionResponse) -> dict[str, Any]:
    """Return the reply as a dict that JSON can hold. Log-probabilities that were left for later are made."""
    body = reply.model_dump(mode="json")
    for choice, of_choice in zip(body["choices"], reply.choices, strict=True):
        if isinstance(of_choice.logprobs, LaterLogProbs):
            choice["logprobs"]["content"] = await of_choice.logprobs.dicts()
    return body
