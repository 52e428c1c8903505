"""What a request would cost, compared with what it costs; and tokens of real texts."""

from typing import Any

import httpx
import pytest

from tests.server.test_end_to_end import CHAT, image_question
from tests.server.test_usage import engine_counts

pytestmark = pytest.mark.engine
RENDER = "/v1/chat/completions/render"
TEXT = "Zeile 1: 3, 4.\n\n图中 <|im_end|> 🙂"


async def reply_of(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize(
    "extra",
    [{}, {"v2pe_delta": 0.25}, {"v2pe_delta": "auto", "max_tokens": 7}, {"max_dynamic_patch": 1}],
    ids=["default", "delta", "auto", "one tile"],
)
async def test_a_rendered_request_is_the_one_that_is_answered(
    client: httpx.AsyncClient, extra: dict[str, Any]
):
    body = image_question(text="What would it cost?", seed=3, **({"max_tokens": 4} | extra))
    before = await engine_counts(client)
    rendered = await reply_of(client, RENDER, body)
    assert not +(await engine_counts(client) - before), "nothing was generated"
    answered = await reply_of(client, CHAT, {**body, "return_token_ids": True})
    assert rendered["prompt_token_ids"] == answered["prompt_token_ids"]
    assert rendered["prompt_tokens"] == answered["usage"]["prompt_tokens"]
    assert rendered["vision"] == answered["vision"]
    assert rendered["max_tokens"] == body["max_tokens"]
    assert rendered["positions"] > rendered["vision"]["highest_position"]


async def test_without_max_tokens_the_answer_may_fill_the_window(client: httpx.AsyncClient):
    body = image_question(text="How long?", best_of=3, max_tokens=None)
    rendered = await reply_of(client, RENDER, body)
    assert rendered["max_tokens"] == rendered["window"] - rendered["positions"]
    assert rendered["at_most"] == {
        "candidates": 3,
        "prompt_tokens": 3 * rendered["prompt_tokens"],
        "completion_tokens": 3 * rendered["max_tokens"],
    }


async def test_a_conversation_has_the_same_tokens_everywhere(client: httpx.AsyncClient):
    body = image_question(text=TEXT)
    rendered = await reply_of(client, RENDER, body)
    tokens = await reply_of(client, "/tokenize", {**body, "return_token_strs": True})
    assert tokens["tokens"] == rendered["prompt_token_ids"] and tokens["count"] == len(tokens["token_strs"])
    text = (await reply_of(client, "/detokenize", {"tokens": tokens["tokens"]}))["prompt"]
    assert text.count("<|im_end|>") == 1 + text.count("<|im_start|>") - 1, "one is the user's own text"
    assert TEXT in text


async def test_a_text_comes_back_from_its_tokens(client: httpx.AsyncClient):
    tokens = await reply_of(client, "/tokenize", {"model": "nano", "prompt": TEXT})
    assert (await reply_of(client, "/detokenize", {"tokens": tokens["tokens"]}))["prompt"] == TEXT
    special = await reply_of(client, "/tokenize", {"prompt": "<|im_end|>"})
    assert special["count"] == 1, "this is no conversation, so nothing can be forged"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (RENDER, image_question(max_tokens=10_000), "max_tokens"),
        (RENDER, image_question(text="long " * 20_000), "messages"),
        (RENDER, image_question(v2pe_delta=3), "v2pe_delta"),
        ("/detokenize", {"tokens": [2**31 - 1]}, "tokens"),
    ],
    ids=["max_tokens", "long", "delta", "unknown token"],
)
async def test_what_would_be_refused_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], param: str
):
    reply = await client.post(path, json=body)
    assert reply.status_code == 400 and reply.json()["error"]["param"] == param, reply.text
