"""A reply is the same JSON however large it is, and a large one lets other requests go on."""

import asyncio
import json
import threading
from typing import Any

import pytest
from starlette.responses import JSONResponse

from server.http.json_reply import json_reply
from server.protocol.json_pieces import LARGE, LEVELS, _pieces


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


class WaitsForOthers(dict[str, Any]):
    """A part of a reply that can be written only when the event loop has had a turn."""

    def __init__(self, entries: dict[str, Any]) -> None:
        super().__init__(entries)
        self.others_went_on = threading.Event()

    def items(self) -> Any:
        assert self.others_went_on.wait(timeout=60), "nothing else ran while the reply was written"
        return super().items()


async def test_others_go_on_while_a_large_reply_is_written():
    last = WaitsForOthers({"a": 1})
    writing = asyncio.create_task(json_reply({"text": ["x" * LARGE, "y"], "last": last}))
    await asyncio.sleep(0)  # it begins
    asyncio.get_running_loop().call_later(0.01, last.others_went_on.set)
    assert json.loads(bytes((await writing).body))["last"] == {"a": 1}


def test_a_large_reply_is_written_in_small_pieces():
    """One call of the encoder would let no other thread run until its end."""
    sizes = [len(piece) for piece in _pieces(chat_reply(8, 1000), LEVELS)]
    assert sum(sizes) > 10 * LARGE
    assert max(sizes) < LARGE / 100
