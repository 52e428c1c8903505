"""A reply with many log-probabilities becomes the same dict as vLLM's own, and others go on meanwhile."""

import asyncio
import threading
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionLogProb,
    ChatCompletionLogProbs,
    ChatCompletionLogProbsContent,
    ChatCompletionResponse,
    ChatCompletionResponseChoice,
    ChatMessage,
)
from vllm.entrypoints.serve.engine.protocol import UsageInfo

from server.vllm_engine.policy.reply_body import MANY, reply_body


def reply(choices: int, tokens: int) -> ChatCompletionResponse:
    """A reply whose last choice has no log-probabilities."""
    top = [ChatCompletionLogProb(token="b", logprob=-1.0, bytes=[98])] * 20
    content = [ChatCompletionLogProbsContent(token="a", logprob=-0.5, bytes=[97], top_logprobs=top)] * tokens
    return ChatCompletionResponse(
        model="nano",
        choices=[
            ChatCompletionResponseChoice(
                index=index,
                message=ChatMessage(role="assistant", content="a"),
                logprobs=ChatCompletionLogProbs(content=content) if index < choices - 1 else None,
                finish_reason="stop",
            )
            for index in range(choices)
        ],
        usage=UsageInfo(),
    )


async def test_the_dict_is_that_of_pydantic():
    for tokens in (0, 3, MANY):
        expected = reply(3, tokens)
        assert await reply_body(expected) == expected.model_dump(mode="json")


async def test_others_go_on_between_two_tokens():
    """One call of pydantic, which takes all tokens, would let nobody else have a turn, even in a thread."""
    others_went_on, waits = threading.Event(), []

    class WaitsForOthers(ChatCompletionLogProbsContent):
        def model_dump(self, **options: Any) -> dict[str, Any]:
            waits.append(others_went_on.wait(timeout=60))
            return super().model_dump(**options)

    expected = reply(2, MANY)
    logprobs = expected.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    logprobs.content[0] = WaitsForOthers(token="a", logprob=-0.5, bytes=[97], top_logprobs=[])
    turning = asyncio.create_task(reply_body(expected))
    await asyncio.sleep(0)  # it begins
    asyncio.get_running_loop().call_later(0.01, others_went_on.set)
    assert len((await turning)["choices"][0]["logprobs"]["content"]) == MANY
    assert waits == [True]
