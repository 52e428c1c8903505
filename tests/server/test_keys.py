"""API keys on real engines: the caches of two keys are apart, and each token is counted for its key."""

import asyncio
from collections import Counter

import httpx
import pytest

from tests.server.conftest import bearer
from tests.server.running import RunningServer
from tests.server.test_end_to_end import CHAT, image_question, running_requests
from tests.server.test_usage import engine_counts, key_tokens

pytestmark = pytest.mark.engine
SCORE = "/v1/critic/score"


def client_of(server: RunningServer, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=120, headers=bearer(key))


async def cached_tokens(client: httpx.AsyncClient, text: str) -> int:
    """Return how many tokens of a conversation that begins with this text were in the policy's cache."""
    body = image_question(temperature=0, max_tokens=4)
    body["messages"] = [{"role": "system", "content": text}, *body["messages"]]
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200, reply.text
    cached: int = reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    return cached


async def test_a_prompt_of_another_key_is_not_in_the_cache(keyed_server: RunningServer):
    async with client_of(keyed_server, "first") as first, client_of(keyed_server, "second") as second:
        text = "Which cache holds this? " * 8
        cached = [await cached_tokens(client, text) for client in (first, first, second, second)]
    assert cached[0] == cached[2] == 0 and cached[1] == cached[3] > 0


async def test_scores_of_another_key_are_not_remembered(keyed_server: RunningServer):
    question = {"role": "user", "content": "Whose memory is it that holds this? " * 8}
    body = {"messages": [question], "answers": ["One.\n\nTwo."]}
    replies = []
    async with client_of(keyed_server, "first") as first, client_of(keyed_server, "second") as second:
        for client in (first, first, second):
            replies.append((await client.post(SCORE, json=body)).json())
    used = [reply["usage"] for reply in replies]
    assert used[1]["prompt_tokens"] == 0, "the same key's scores are remembered"
    assert used[0]["prompt_tokens"] == used[2]["prompt_tokens"] > 0
    # Other questions of the key may have left the critic's system message in its cache, but not this one.
    assert all(usage["cached_tokens"] < usage["prompt_tokens"] / 2 for usage in (used[0], used[2]))
    assert replies[0]["scores"][0]["step_scores"] == replies[2]["scores"][0]["step_scores"]


async def test_the_accounts_of_all_keys_are_the_engines(keyed_server: RunningServer):
    """Plain, streamed, several choices, a selection, scores, and a client that leaves in the middle."""
    async with client_of(keyed_server, "first") as first, client_of(keyed_server, "second") as second:
        before = await engine_counts(first)
        counted = [await key_tokens(first, key) for key in ("first", "second")]
        endless = image_question(seed=23, max_tokens=400, ignore_eos=True, n=2)
        asking = asyncio.create_task(first.post(CHAT, json=endless))
        while await running_requests(second) < 2:
            assert not asking.done()
            await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait([asking])
        await first.post(CHAT, json=image_question(seed=24, stream=True, max_tokens=8))
        await second.post(CHAT, json=image_question(best_of=3, seed=25, max_tokens=8))
        messages = image_question(text="Which one?")["messages"]
        await second.post(SCORE, json={"messages": messages, "answers": ["One.\n\nTwo."]})
        used = await engine_counts(first) - before
        after = [await key_tokens(first, key) for key in ("first", "second")]
    own = [now - then for now, then in zip(after, counted, strict=True)]
    assert all(account["policy completion"] > 0 for account in own)
    assert own[0]["critic prompt_computed"] == 0 < own[1]["critic prompt_computed"]
    total: Counter[str] = own[0] + own[1]
    assert total["policy completion"] == used["nano generation_tokens"]
    for model in ("policy", "critic"):
        name = "nano" if model == "policy" else "critic"
        assert total[f"{model} prompt_cached"] == used[f"{name} prompt_tokens_cached"]
        prompts = total[f"{model} prompt_computed"] + total[f"{model} prompt_cached"]
        assert prompts == used[f"{name} prompt_tokens"] > 0
