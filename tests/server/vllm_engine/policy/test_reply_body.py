"""A reply with many log-probabilities becomes the same dict as vLLM's own, and others go on meanwhile."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionLogProbs,
    ChatCompletionResponse,
    ChatCompletionResponseChoice,
    ChatMessage,
)
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import UsageInfo
from vllm.logprobs import FlatLogprobs, Logprob

from server.vllm_engine.internals.handlers import change_logprobs
from server.vllm_engine.policy.later_logprobs import MANY, LaterLogProbs, made_later
from server.vllm_engine.policy.reply_body import reply_body


def vllms_own() -> Callable[..., ChatCompletionLogProbs]:
    handler = object.__new__(OpenAIServingChat)
    handler.return_tokens_as_token_ids = False
    return handler._create_chat_logprobs


def answer(tokens: int, *, flat: bool) -> dict[str, Any]:
    """What vLLM's handler knows of an answer; every third token is not among its alternatives' first two."""
    positions = [
        {other: Logprob(logprob=-float(other), rank=other, decoded_token=f"é{other}") for other in range(4)}
        for _ in range(tokens)
    ]
    flattened = FlatLogprobs()
    flattened.extend(positions)
    return {
        "token_ids": [index % 3 for index in range(tokens)],
        "top_logprobs": flattened if flat else positions,
        "num_output_top_logprobs": 2,
        "tokenizer": None,
    }


def reply(logprobs: Sequence[ChatCompletionLogProbs | None]) -> ChatCompletionResponse:
    return ChatCompletionResponse(
        model="nano",
        choices=[
            ChatCompletionResponseChoice(
                index=index,
                message=ChatMessage(role="assistant", content="a"),
                logprobs=each,
                finish_reason="stop",
            )
            for index, each in enumerate(logprobs)
        ],
        usage=UsageInfo(),
    )


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("tokens", [0, 3, MANY, 3 * MANY])
async def test_the_dict_is_that_of_vllm(tokens: int, flat: bool):
    create = vllms_own()
    expected = reply([create(**answer(tokens, flat=flat)), None]).model_dump(mode="json")
    later = made_later(create)(**answer(tokens, flat=flat))
    assert isinstance(later, LaterLogProbs) == (tokens >= MANY)
    made = await reply_body(reply([later, None]))
    assert made | {"id": "", "created": 0} == expected | {"id": "", "created": 0}
    assert len(made["choices"][0]["logprobs"]["content"]) == tokens


async def test_others_go_on_while_they_are_made():
    """On the event loop, or by one call that takes all tokens, they would let nobody else have a turn."""
    others_went_on, waits = threading.Event(), []
    create = vllms_own()

    def waits_for_others(**options: Any) -> ChatCompletionLogProbs:
        assert len(options["token_ids"]) == 1
        waits.append(others_went_on.wait(timeout=60))
        return create(**options)

    turning = asyncio.create_task(
        reply_body(reply([made_later(waits_for_others)(**answer(MANY, flat=False))]))
    )
    while not turning.done() and not others_went_on.is_set():
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, others_went_on.set)
    assert len((await turning)["choices"][0]["logprobs"]["content"]) == MANY
    assert waits == [True] * MANY


def test_a_handler_gets_another_function():
    handler = object.__new__(OpenAIServingChat)
    handler.return_tokens_as_token_ids = False
    change_logprobs(handler, made_later)
    assert isinstance(handler._create_chat_logprobs(**answer(MANY, flat=False)), LaterLogProbs)
