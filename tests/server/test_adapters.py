"""LoRA adapters by name on real engines, beside the policy without one."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file

from tests.adapters import random_adapter, random_changes, write_adapter
from tests.server.conftest import ADAPTER, ADAPTER_FOLDER, bearer
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


@pytest.fixture
async def admin(keyed_server: RunningServer):
    async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120, headers=bearer("admin")) as opened:
        yield opened


async def load(admin: httpx.AsyncClient, name: str, path: str) -> httpx.Response:
    return await admin.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})


async def unload(admin: httpx.AsyncClient, name: str) -> httpx.Response:
    return await admin.post("/v1/unload_lora_adapter", json={"lora_name": name})


async def test_an_adapter_that_is_loaded_answers_at_once(
    keyed_server: RunningServer, client: httpx.AsyncClient, admin: httpx.AsyncClient, qwen_checkpoint: Path
):
    """It answers plainly, as a stream, by the best of N and in other APIs, and leaves nothing behind."""
    folder = random_adapter(keyed_server.log.parent / ADAPTER_FOLDER / "later", qwen_checkpoint, seed=4)
    plain, reports = await answer(client, "nano"), await answer(client, ADAPTER)
    assert (await load(admin, "later", "later")).status_code == 200
    later = await answer(client, "later")
    for other in (plain, reports):
        assert max(abs(a - b) for a, b in zip(logprobs(later), logprobs(other), strict=False)) > 0.01
    listed = {model["id"]: model for model in (await client.get("/v1/models")).json()["data"]}
    assert listed["later"]["parent"] == "nano" and "later:bo8" in listed
    assert set(listed["nano"]["setup"]["policy"]["adapters"]) == {ADAPTER, "later"}
    greedy = later["choices"][0]["message"]["content"]
    scaling = {"n": 2, "return_candidates": True}
    chosen = await answer(client, "later", test_time_scaling=scaling, seed=1)
    assert chosen["test_time_scaling"]["candidates"][0]["text"] == greedy
    texts = {"model": "later", "prompt": "Once", "max_tokens": 2, "temperature": 0}
    assert (await client.post("/v1/completions", json=texts)).json()["model"] == "later"
    full = await load(admin, "third", "later")
    assert (full.status_code, full.json()["error"]["code"]) == (400, "too_many_adapters")

    body = image_question(text="Whose weights?", temperature=0, max_tokens=40, stream=True, ignore_eos=True)
    async with client.stream("POST", CHAT, json={**body, "model": "later"}) as reply:
        lines = reply.aiter_lines()
        assert (await anext(lines)).startswith("data:")
        unloading = asyncio.create_task(unload(admin, "later"))
        rest = [line async for line in lines if line]
    assert rest[-1] == "data: [DONE]" and '"error"' not in "".join(rest)
    assert (await unloading).status_code == 200
    assert (await client.post(CHAT, json={**body, "model": "later"})).status_code == 404
    assert logprobs(await answer(client, "nano")) == pytest.approx(logprobs(plain), abs=1e-4)
    assert logprobs(await answer(client, ADAPTER)) == pytest.approx(logprobs(reports), abs=1e-4)
    assert (await load(admin, "again", str(folder))).status_code == 200
    assert logprobs(await answer(client, "again")) == pytest.approx(logprobs(later), abs=1e-4)
    assert (await unload(admin, "again")).status_code == 200


async def test_an_adapter_of_another_model_is_refused_and_leaves_its_place(
    keyed_server: RunningServer, client: httpx.AsyncClient, admin: httpx.AsyncClient, qwen_checkpoint: Path
):
    folder = keyed_server.log.parent / ADAPTER_FOLDER
    changes = random_changes(load_file(qwen_checkpoint / "model.safetensors"), seed=5)
    wide = {name: (down.repeat(1, 2), up.repeat(2, 1)) for name, (down, up) in changes.items()}
    write_adapter(folder / "wide", "base_model.model.language_model.model", wide)
    tower = {"encoder.layers.0.attn.proj": next(iter(changes.values()))}
    write_adapter(folder / "tower", "base_model.model.vision_model", tower)
    (random_adapter(folder / "torn", qwen_checkpoint, seed=6) / "adapter_model.safetensors").unlink()
    plain = await answer(client, "nano")
    for _ in range(2):  # a second time there must be as much room as before
        for name in ("wide", "tower", "torn"):
            refused = await load(admin, name, name)
            print(refused.text)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_adapter")
            assert str(folder) not in refused.text
    tower_error = (await load(admin, "tower", "tower")).json()["error"]["message"]
    assert "only adapters of the language model are served" in tower_error
    assert logprobs(await answer(client, "nano")) == pytest.approx(logprobs(plain), abs=1e-4)
    random_adapter(folder / "fitting", qwen_checkpoint, seed=7)
    assert (await load(admin, "fitting", "fitting")).status_code == 200
    assert (await unload(admin, "fitting")).status_code == 200
