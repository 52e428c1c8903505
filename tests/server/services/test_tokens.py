"""Rendering and tokens over HTTP, with a fake engine; `tests/server/test_tokens.py` asks a real one."""

from typing import Any

import httpx
import pytest

from tests.server.apps import app_with, client_of, question
from tests.server.fakes import FakeEngine

RENDER = "/v1/chat/completions/render"


async def post(path: str, body: dict[str, Any], **chosen: Any) -> httpx.Response:
    async with client_of(app_with(FakeEngine(["yes"]), **chosen)) as client:
        return await client.post(path, json=body)


async def test_a_rendered_request_says_what_it_costs_at_most():
    scaling = {"method": "self_consistency", "n": 5}
    reply = (await post(RENDER, question(test_time_scaling=scaling))).json()
    assert reply == {
        "object": "chat.completion.render",
        "model": "nano",
        "prompt_token_ids": [1, 2, 3],
        "prompt_tokens": 3,
        "positions": 3,
        "window": 100,
        "max_tokens": 97,
        "vision": None,
        "at_most": {"candidates": 5, "prompt_tokens": 15, "completion_tokens": 485},
    }
    plain = (await post(RENDER, question(n=2))).json()
    assert plain["at_most"] == {"candidates": 2, "prompt_tokens": 6, "completion_tokens": 194}


async def test_the_shapes_are_vllms():
    tokens = (await post("/tokenize", {"prompt": "ab", "return_token_strs": True})).json()
    assert tokens == {"count": 2, "max_model_len": 2048, "tokens": [97, 98], "token_strs": ["a", "b"]}
    chat = (await post("/tokenize", question())).json()
    assert chat == {"count": 3, "max_model_len": 2048, "tokens": [1, 2, 3], "token_strs": None}
    assert (await post("/detokenize", {"model": "nano", "tokens": [97, 98]})).json() == {"prompt": "ab"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (RENDER, question(best_of=1000), "best_of"),
        (RENDER, {"model": "nano"}, "messages"),
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": 3}, "prompt"),
        ("/tokenize", {"prompt": "a" * 4_000_001}, "prompt"),
        ("/tokenize", {"messages": "hello"}, "messages"),
        ("/detokenize", {"tokens": [1, -1]}, "tokens[1]"),
        ("/detokenize", {"tokens": "ab"}, "tokens"),
        ("/detokenize", {}, "tokens"),
    ],
)
async def test_a_mistake_names_its_field(path: str, body: dict[str, Any], param: str):
    reply = await post(path, body)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == param, reply.text


@pytest.mark.parametrize(
    ("path", "body"), [("/tokenize", {"prompt": "a"}), ("/detokenize", {"tokens": [1]}), (RENDER, question())]
)
async def test_another_model_is_not_found(path: str, body: dict[str, Any]):
    reply = await post(path, {**body, "model": "other"})
    assert reply.status_code == 404 and reply.json()["error"]["code"] == "model_not_found"
