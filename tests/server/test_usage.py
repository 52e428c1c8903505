"""The token counts in replies and metrics equal the engines' counts, also for cancelled candidates."""

import asyncio
import re
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.server.apps import events_of
from tests.server.test_end_to_end import CHAT, image_question, running_requests

pytestmark = pytest.mark.engine
ENGINES = re.compile(
    r'^vllm:(prompt_tokens|prompt_tokens_cached|generation_tokens)_total\{.*model_name="(\w+)"\} (\S+)$', re.M
)
SELECTION_TOKENS = re.compile(r'^internvl3_selection_tokens_total\{kind="(\w+)",model="(\w+)"\} (\S+)$', re.M)
KEY_TOKENS = r'^internvl3_tokens_total\{{key="{}",kind="(\w+)",model="(\w+)"\}} (\S+)$'
ALL_TOKENS = re.compile(KEY_TOKENS.format("anonymous"), re.M)
LONG: dict[str, Any] = {"max_tokens": 600, "ignore_eos": True}

# Every way in which a selection and its candidates can end.
SELECTIONS = {
    "best of n": image_question(best_of=4, seed=1),
    "streamed": image_question(best_of=4, seed=2, stream=True),
    "weighted vote": image_question(test_time_scaling={"method": "weighted_vote", "n": 3}, seed=3),
    "self consistency": image_question(test_time_scaling={"method": "self_consistency", "n": 3}, seed=4),
    "beam search": image_question(
        test_time_scaling={"method": "beam_search", "n": 4, "beam_width": 2}, seed=5
    ),
    "stopped by a score": image_question(test_time_scaling={"n": 6, "stop_score": 0.0}, seed=6, **LONG),
    "one after the other": image_question(
        test_time_scaling={"n": 3, "max_parallel": 1, "stop_score": 0.0}, seed=7
    ),
    "losers abandoned": image_question(
        test_time_scaling={"n": 6, "abandon_losers": True, "aggregation": "min"}, seed=8
    ),
    "token cap": image_question(test_time_scaling={"n": 4, "max_tokens_total": 40}, seed=9, **LONG),
    "token cap, streamed": image_question(
        test_time_scaling={"n": 4, "max_tokens_total": 40}, seed=10, stream=True, **LONG
    ),
    "time cap": image_question(test_time_scaling={"n": 4, "max_seconds": 2.0}, seed=11, max_tokens=1500),
    "invalid candidates": image_question(best_of=6, seed=12, response_format={"type": "json_object"}),
    "the same again": image_question(best_of=4, seed=1),
}


async def engine_counts(client: httpx.AsyncClient) -> Counter[str]:
    """Return the engines' token counters once no request is running."""
    while await running_requests(client) > 0:
        await asyncio.sleep(0.02)
    text = (await client.get("/metrics")).text
    return Counter({f"{model} {kind}": int(float(value)) for kind, model, value in ENGINES.findall(text)})


async def token_counts(client: httpx.AsyncClient, samples: re.Pattern[str]) -> Counter[str]:
    """Return the server's own token counters with these samples."""
    found = samples.findall((await client.get("/metrics")).text)
    return Counter({f"{model} {kind}": int(float(value)) for kind, model, value in found})


async def key_tokens(client: httpx.AsyncClient, key: str) -> Counter[str]:
    """Return the server's counters of the tokens that the requests of an API key have taken."""
    return await token_counts(client, re.compile(KEY_TOKENS.format(key), re.M))


def reply_counts(usage: dict[str, Any]) -> Counter[str]:
    """Return the usage in a reply, under the names of the engines' counters."""
    policy, critic = usage["policy"], usage["critic"]
    return Counter(
        {
            "nano prompt_tokens": policy["prompt"],
            "nano prompt_tokens_cached": policy["cached"],
            "nano generation_tokens": policy["completion"],
            "critic prompt_tokens": critic["prompt"],
            "critic prompt_tokens_cached": critic["cached"],
        }
    )


@pytest.mark.parametrize("case", SELECTIONS)
async def test_the_account_of_a_selection_is_the_engines(client: httpx.AsyncClient, case: str):
    body = SELECTIONS[case]
    before = await engine_counts(client)
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    last = events_of(reply.text)[1][-1] if body.get("stream") else reply.json()
    account = last["test_time_scaling"]["usage"]
    assert +reply_counts(account) == +(await engine_counts(client) - before)
    assert last["usage"]["completion_tokens"] == account["policy"]["completion"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_account_of_a_plain_request_is_the_engines(client: httpx.AsyncClient, stream: bool):
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    before = await engine_counts(client)
    reply = await client.post(CHAT, json=image_question(seed=20, stream=stream, **options))
    usage = (events_of(reply.text)[1][-1] if stream else reply.json())["usage"]
    used = {
        "nano prompt_tokens": usage["prompt_tokens"],
        "nano prompt_tokens_cached": usage["prompt_tokens_details"]["cached_tokens"],
        "nano generation_tokens": usage["completion_tokens"],
    }
    assert +Counter(used) == +(await engine_counts(client) - before)


async def test_the_account_of_scoring_is_the_engines(client: httpx.AsyncClient):
    """Steps that several answers begin with are scored once."""
    messages = image_question(text="Which of them?")["messages"]
    before = await engine_counts(client)
    reply = await client.post(
        "/v1/critic/score", json={"messages": messages, "answers": ["One.\n\nTwo.", "One.\n\nThree.", "One."]}
    )
    usage = reply.json()["usage"]
    used = Counter(
        {
            "critic prompt_tokens": usage["prompt_tokens"],
            "critic prompt_tokens_cached": usage["cached_tokens"],
        }
    )
    assert +used == +(await engine_counts(client) - before)


async def test_the_metrics_of_all_tokens_are_the_engines(client: httpx.AsyncClient, server):
    """Plain requests, scorings and a request whose client leaves are in them, too."""
    before, all_before = await engine_counts(client), await token_counts(client, ALL_TOKENS)
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as leaving:
        endless = image_question(seed=23, max_tokens=1700, ignore_eos=True, n=2)
        asking = asyncio.create_task(leaving.post(CHAT, json=endless))
        while await running_requests(client) < 2:
            assert not asking.done()
            await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait([asking])
    await client.post(CHAT, json=image_question(seed=24, stream=True))
    messages = image_question(text="Which one?")["messages"]
    await client.post("/v1/critic/score", json={"messages": messages, "answers": ["One.\n\nTwo."]})
    await client.post(CHAT, json=image_question(best_of=2, seed=25))
    used = await engine_counts(client) - before
    all_used = await token_counts(client, ALL_TOKENS) - all_before
    assert all_used["policy completion"] == used["nano generation_tokens"] > 0
    for model, name in (("policy", "nano"), ("critic", "critic")):
        computed, cached = all_used[f"{model} prompt_computed"], all_used[f"{model} prompt_cached"]
        assert cached == used[f"{name} prompt_tokens_cached"]
        assert computed + cached == used[f"{name} prompt_tokens"] > 0


async def test_metrics_also_count_requests_without_a_reply(client: httpx.AsyncClient, server):
    """One client closes its connection in the middle, and another one stays."""

    before, metrics_before = await engine_counts(client), await token_counts(client, SELECTION_TOKENS)
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as leaving:
        endless = image_question(best_of=4, seed=21, max_tokens=1700, ignore_eos=True)
        asking = asyncio.create_task(leaving.post(CHAT, json=endless))
        while await running_requests(client) < 4:
            assert not asking.done()
            await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait([asking])
    await client.post(CHAT, json=image_question(best_of=3, seed=22))
    used = await engine_counts(client) - before
    metrics_used = await token_counts(client, SELECTION_TOKENS) - metrics_before
    assert metrics_used["policy completion"] == used["nano generation_tokens"] > 0
    for model, name in (("policy", "nano"), ("critic", "critic")):
        cached = metrics_used[f"{model} prompt_cached"]
        assert cached == used[f"{name} prompt_tokens_cached"]
        assert metrics_used[f"{model} prompt_computed"] + cached == used[f"{name} prompt_tokens"]
