"""Beam search on a real server. A logit bias makes line breaks likely, so that answers have steps."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.checkpoints import byte_tokenizer
from tests.server.apps import events_of
from tests.server.test_end_to_end import CHAT, image_question, running_requests

pytestmark = pytest.mark.engine
(LINE_BREAK,) = byte_tokenizer().encode("\n", add_special_tokens=False)
SEARCH = {"method": "beam_search", "n": 6, "beam_width": 2, "return_candidates": True, "max_steps": 4}


def search_request(seed: int = 5, *, scaling: dict | None = None, **extra) -> dict:
    bias: dict[str, Any] = {"logit_bias": {str(LINE_BREAK): 6.0}, "max_tokens": 120}
    return image_question(seed=seed, test_time_scaling=SEARCH | (scaling or {}), **(bias | extra))


async def answer(client: httpx.AsyncClient, body: dict) -> dict:
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_the_best_answer_found_comes_back_as_one(client):
    reply = await answer(client, search_request(logprobs=True, top_logprobs=2))
    report, choice = reply["test_time_scaling"], reply["choices"][0]
    chosen = next(entry for entry in report["candidates"] if entry["index"] == report["selected"])
    assert choice["message"]["content"] == chosen["text"] and len(chosen["steps"]) > 1
    assert choice["finish_reason"] == chosen["finish_reason"]
    assert chosen["score"] == max(entry["score"] for entry in report["candidates"])
    assert len({entry["text"] for entry in report["candidates"]}) == len(report["candidates"])
    tokens = choice["logprobs"]["content"]
    assert len(tokens) == chosen["completion_tokens"]
    assert report["usage"]["policy"]["completion"] > chosen["completion_tokens"]


async def test_the_same_seed_finds_the_same_answer_streamed_or_not(client):
    first, again = [await answer(client, search_request()) for _ in range(2)]
    other = await answer(client, search_request(seed=6))
    _, chunks = events_of((await client.post(CHAT, json=search_request(stream=True))).text)
    content = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    text = first["choices"][0]["message"]["content"]
    assert again["choices"][0]["message"]["content"] == "".join(content) == text
    assert other["choices"][0]["message"]["content"] != text
    assert chunks[-1]["choices"][0]["finish_reason"] == first["choices"][0]["finish_reason"]
    assert chunks[-1]["test_time_scaling"]["selected"] == first["test_time_scaling"]["selected"]


async def test_max_tokens_and_stop_strings_hold_for_the_complete_answer(client):
    reply = await answer(client, search_request(max_tokens=40, scaling={"max_steps": 32}))
    for entry in reply["test_time_scaling"]["candidates"]:
        assert entry["completion_tokens"] <= 40
    text = (await answer(client, search_request()))["choices"][0]["message"]["content"]
    last = text[-6:]
    stopped = await answer(client, search_request(stop=[last]))
    assert all(last not in entry["text"] for entry in stopped["test_time_scaling"]["candidates"])


async def test_each_step_computes_only_what_is_new(client):
    """Continuations begin with the tokens of the steps before, which are in the prefix cache."""
    reply = await answer(client, search_request(text="Only what is new?"))
    usage = reply["test_time_scaling"]["usage"]["policy"]
    prompt = reply["usage"]["prompt_tokens"]
    max_requests = usage["prompt"] // prompt  # the number of requests is at most this
    assert max_requests > 6 and usage["prompt"] - usage["cached"] <= prompt + 32 * max_requests


async def test_caps_return_the_best_beginning(client):
    capped = await answer(client, search_request(scaling={"max_tokens_total": 30}))
    report = capped["test_time_scaling"]
    assert report["stopped"] == "tokens" and capped["choices"][0]["message"]["content"]
    assert report["usage"]["policy"]["completion"] >= 30


async def test_a_format_is_refused(client):
    body = search_request(response_format={"type": "json_object"})
    for stream in (False, True):
        reply = await client.post(CHAT, json={**body, "stream": stream})
        assert reply.status_code == 400 and "best_of_n" in reply.json()["error"]["message"]


async def test_a_client_that_leaves_ends_the_search(client, server):
    endless = search_request(max_tokens=1700, ignore_eos=True, logit_bias={str(LINE_BREAK): -100})
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as leaving:
        asking = asyncio.create_task(leaving.post(CHAT, json=endless))
        while await running_requests(client) < 6:
            assert not asking.done()
            await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait([asking])
    while await running_requests(client) > 0:
        await asyncio.sleep(0.02)
