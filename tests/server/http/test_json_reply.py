"""A reply is the same JSON however large it is, and a large one lets other requests go on."""

import asyncio
from typing import Any

import pytest
from starlette.responses import JSONResponse

from server.http.json_reply import LARGE, json_reply


def chat_reply(choices: int, tokens: int) -> dict[str, Any]:
    """The shape of a reply with the log-probabilities of many tokens."""
    entry = {"token": "ä", "logprob": -0.5, "bytes": [195, 164], "top_logprobs": []}
    content = [{**entry, "top_logprobs": [entry] * 20} for _ in range(tokens)]
    return {
        "object": "chat.completion",
        "choices": [
            {"index": index, "message": {"content": 'a "quote"\n'}, "logprobs": {"content": content}}
            for index in range(choices)
        ],
        "usage": None,
    }


SHAPES: list[dict[str, Any]] = [
    {},
    {"a": [], "b": {}, "c": [[], [[]]], "d": None, "e": True, "f": 1.5, "g": "\u2028\x00"},
    {"a": {"b": {"c": {"d": {"e": {"f": [1, {"g": 2}]}}}}}},
    chat_reply(2, 3),
    chat_reply(4, 300),
]


@pytest.mark.parametrize("body", SHAPES)
async def test_the_json_is_that_of_starlette(body: dict[str, Any]):
    reply, expected = await json_reply(body), JSONResponse(body)
    assert reply.body == expected.body
    assert reply.headers == expected.headers


async def test_numbers_that_are_not_finite_are_no_json():
    with pytest.raises(ValueError, match="JSON compliant"):
        await json_reply({"a": [float("nan")]})


async def test_others_go_on_while_a_large_reply_is_written():
    """With one call of the encoder, even in a thread, they would have no turn until its end."""
    writing = asyncio.create_task(json_reply(chat_reply(8, 1000)))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert len(writing.result().body) > 10 * LARGE
    assert turns > 10
