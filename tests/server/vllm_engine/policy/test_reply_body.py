"""A reply with many log-probabilities becomes the same dict as vLLM's own, and others go on meanwhile."""

import asyncio

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


async def test_others_go_on_meanwhile():
    """One call of pydantic's would let nobody else have a turn, although it runs in a thread."""
    turning = asyncio.create_task(reply_body(reply(4, 10 * MANY)))
    turns = 0
    while not turning.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert len(turning.result()["choices"]) == 4
    assert turns > 3 + 1, "more than once for each choice with log-probabilities"
