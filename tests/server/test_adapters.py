"""LoRA adapters by name on real engines, beside the policy without one."""

from typing import Any

import httpx
import pytest

from tests.server.conftest import ADAPTER, bearer
from tests.server.running import RunningServer
from tests.server.test_end_to_end import CHAT, image_question

pytestmark = pytest.mark.engine


@pytest.fixture
async def client(keyed_server: RunningServer):
    async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120, headers=bearer("first")) as opened:
        yield opened


async def answer(client: httpx.AsyncClient, model: str, **extra: Any) -> dict[str, Any]:
    body = image_question(text="Whose weights?", temperature=0, max_tokens=6, logprobs=True, **extra)
    reply = await client.post(CHAT, json={**body, "model": model})
    assert reply.status_code == 200, reply.text
    return reply.json()


def logprobs(reply: dict[str, Any]) -> list[float]:
    return [token["logprob"] for token in reply["choices"][0]["logprobs"]["content"]]


async def test_a_request_gets_the_adapter_that_it_names(client: httpx.AsyncClient):
    plain = await answer(client, "nano")
    adapted = await answer(client, ADAPTER)
    assert (plain["model"], adapted["model"]) == ("nano", ADAPTER)
    assert max(abs(a - b) for a, b in zip(logprobs(plain), logprobs(adapted), strict=False)) > 0.01
    assert logprobs(await answer(client, "nano")) == pytest.approx(logprobs(plain), abs=1e-4)
    assert logprobs(await answer(client, ADAPTER)) == pytest.approx(logprobs(adapted), abs=1e-4)


async def test_candidates_come_from_the_adapter(client: httpx.AsyncClient):
    greedy = (await answer(client, ADAPTER))["choices"][0]["message"]["content"]
    scaling = {"n": 2, "return_candidates": True}
    chosen = await answer(client, ADAPTER, test_time_scaling=scaling, seed=1)
    assert chosen["test_time_scaling"]["candidates"][0]["text"] == greedy
    alias = await answer(client, f"{ADAPTER}:bo2", seed=1)
    assert alias["choices"][0]["message"]["content"] == chosen["choices"][0]["message"]["content"]


async def test_models_lists_it_with_its_parent(client: httpx.AsyncClient):
    models = {model["id"]: model for model in (await client.get("/v1/models")).json()["data"]}
    assert list(models) == ["nano", "nano:bo8", ADAPTER, f"{ADAPTER}:bo8"]
    assert models["nano"]["parent"] is None and models[ADAPTER]["parent"] == "nano"
    assert list(models["nano"]["setup"]["policy"]["adapters"]) == [ADAPTER]
    refused = await client.post(CHAT, json={**image_question(), "model": "other"})
    assert refused.status_code == 404 and ADAPTER in refused.json()["error"]["message"]
