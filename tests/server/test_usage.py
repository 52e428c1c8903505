"""What replies and metrics say about tokens is what the engines counted, whatever became of a candidate."""

import asyncio
import re
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.server.apps import events_of
from tests.server.test_end_to_end import CHAT, looking, running_requests

pytestmark = pytest.mark.engine
ENGINES = re.compile(
    r'^vllm:(prompt_tokens|prompt_tokens_cached|generation_tokens)_total\{.*model_name="(\w+)"\} (\S+)$', re.M
)
OURS = re.compile(r'^internvl3_selection_tokens_total\{kind="(\w+)",model="(\w+)"\} (\S+)$', re.M)
LONG: dict[str, Any] = {"max_tokens": 600, "ignore_eos": True}

# Every way in which a selection ends, and candidates with it.
SELECTIONS = {
    "best of n": looking(best_of=4, seed=1),
    "streamed": looking(best_of=4, seed=2, stream=True),
    "weighted vote": looking(test_time_scaling={"method": "weighted_vote", "n": 3}, seed=3),
    "self consistency": looking(test_time_scaling={"method": "self_consistency", "n": 3}, seed=4),
    "beam search": looking(test_time_scaling={"method": "beam_search", "n": 4, "beam_width": 2}, seed=5),
    "stopped by a score": looking(test_time_scaling={"n": 6, "stop_score": 0.0}, seed=6, **LONG),
    "one after the other": looking(test_time_scaling={"n": 3, "max_parallel": 1, "stop_score": 0.0}, seed=7),
    "losers abandoned": looking(
        test_time_scaling={"n": 6, "abandon_losers": True, "aggregation": "min"}, seed=8
    ),
    "token cap": looking(test_time_scaling={"n": 4, "max_tokens_total": 40}, seed=9, **LONG),
    "token cap, streamed": looking(
        test_time_scaling={"n": 4, "max_tokens_total": 40}, seed=10, stream=True, **LONG
    ),
    "time cap": looking(test_time_scaling={"n": 4, "max_seconds": 2.0}, seed=11, max_tokens=1500),
    "invalid candidates": looking(best_of=6, seed=12, response_format={"type": "json_object"}),
    "the same again": looking(best_of=4, seed=1),
}


async def counted(client: httpx.AsyncClient) -> Counter[str]:
    """The engines' own counters, once nothing runs."""
    while await running_requests(client) > 0:
        await asyncio.sleep(0.02)
    text = (await client.get("/metrics")).text
    return Counter({f"{model} {kind}": int(float(value)) for kind, model, value in ENGINES.findall(text)})


def told(usage: dict[str, Any]) -> Counter[str]:
    """The same of one reply."""
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
    before = await counted(client)
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    last = events_of(reply.text)[1][-1] if body.get("stream") else reply.json()
    account = last["test_time_scaling"]["usage"]
    assert +told(account) == +(await counted(client) - before)
    assert last["usage"]["completion_tokens"] == account["policy"]["completion"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_account_of_a_plain_request_is_the_engines(client: httpx.AsyncClient, stream: bool):
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    before = await counted(client)
    reply = await client.post(CHAT, json=looking(seed=20, stream=stream, **options))
    usage = (events_of(reply.text)[1][-1] if stream else reply.json())["usage"]
    spent = {
        "nano prompt_tokens": usage["prompt_tokens"],
        "nano prompt_tokens_cached": usage["prompt_tokens_details"]["cached_tokens"],
        "nano generation_tokens": usage["completion_tokens"],
    }
    assert +Counter(spent) == +(await counted(client) - before)


async def test_the_account_of_scoring_is_the_engines(client: httpx.AsyncClient):
    """What several answers begin with is judged once."""
    messages = looking(text="Which of them?")["messages"]
    before = await counted(client)
    reply = await client.post(
        "/v1/critic/score", json={"messages": messages, "answers": ["One.\n\nTwo.", "One.\n\nThree.", "One."]}
    )
    usage = reply.json()["usage"]
    spent = Counter(
        {
            "critic prompt_tokens": usage["prompt_tokens"],
            "critic prompt_tokens_cached": usage["cached_tokens"],
        }
    )
    assert +spent == +(await counted(client) - before)


async def test_metrics_count_also_what_nobody_was_told(client: httpx.AsyncClient, server):
    """A client that left in the middle, among others that stayed."""

    async def ours() -> Counter[str]:
        found = OURS.findall((await client.get("/metrics")).text)
        return Counter({f"{model} {kind}": int(float(value)) for kind, model, value in found})

    before, ours_before = await counted(client), await ours()
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as leaving:
        endless = looking(best_of=4, seed=21, max_tokens=1700, ignore_eos=True)
        asking = asyncio.create_task(leaving.post(CHAT, json=endless))
        while await running_requests(client) < 4:
            assert not asking.done()
            await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait([asking])
    await client.post(CHAT, json=looking(best_of=3, seed=22))
    spent = await counted(client) - before
    ours_spent = await ours() - ours_before
    assert ours_spent["policy completion"] == spent["nano generation_tokens"] > 0
    for model, name in (("policy", "nano"), ("critic", "critic")):
        cached = ours_spent[f"{model} prompt_cached"]
        assert cached == spent[f"{name} prompt_tokens_cached"]
        assert ours_spent[f"{model} prompt_computed"] + cached == spent[f"{name} prompt_tokens"]
