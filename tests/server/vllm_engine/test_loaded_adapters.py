"""The adapters of an engine: names come and go at once, places only when no request uses them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.lora.request import LoRARequest
from vllm.utils.counter import AtomicCounter

from server.errors import ApiError
from server.vllm_engine.adapters import AdapterRoom
from server.vllm_engine.loaded_adapters import LoadedAdapters


class Engine:
    """vLLM's client of an engine with room for adapters of the rank 8; it keeps what it was asked."""

    vllm_config = SimpleNamespace(lora_config=SimpleNamespace(max_lora_rank=8))

    def __init__(self) -> None:
        self.loaded: set[int] = set()
        self.refuses: str | None = None

    async def add_lora(self, request: LoRARequest) -> bool:
        self.loaded.add(request.lora_int_id)
        await asyncio.sleep(0)
        if self.refuses:
            raise Exception(f"Call to add_lora method failed: {self.refuses}")
        return True

    async def remove_lora(self, adapter: int) -> bool:
        self.loaded.discard(adapter)
        return True

    async def list_loras(self) -> list[int]:  # a set becomes one on its way from the engine's process
        return list(self.loaded)


def adapters_of(engine: Any, places: int = 2) -> tuple[LoadedAdapters, Any]:
    """Return the adapters of an engine that has none, and vLLM's names of them."""
    models: Any = SimpleNamespace(lora_requests={}, lora_id_counter=AtomicCounter(0))
    return LoadedAdapters(models, engine, AdapterRoom(places=places, rank=8), digests={}), models


def folder_of(path: Path, name: str = "one", rank: int = 8) -> Path:
    folder = path / name
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))
    return folder


async def refusal(work: Any) -> ApiError:
    with pytest.raises(ApiError) as refused:
        await work
    return refused.value


async def test_a_name_is_there_at_once_and_gone_at_once(tmp_path: Path):
    engine = Engine()
    adapters, models = adapters_of(engine)
    await adapters.load("a", folder_of(tmp_path))
    assert list(adapters.names) == ["a"] == list(models.lora_requests) and len(engine.loaded) == 1
    assert adapters.digests["a"]
    await adapters.unload("a")
    assert not adapters.names and not models.lora_requests and not engine.loaded and not adapters.digests
    assert (await refusal(adapters.unload("a"))).code == "adapter_not_found"


async def test_its_place_stays_until_its_last_request_has_ended(tmp_path: Path):
    engine = Engine()
    adapters, _ = adapters_of(engine, places=1)
    await adapters.load("a", folder_of(tmp_path))
    with adapters.use("a"), adapters.use("a"), adapters.use("nano"):
        unloading = asyncio.create_task(adapters.unload("a"))
        await asyncio.sleep(0)
        assert not adapters.names
        assert (await refusal(adapters.load("b", folder_of(tmp_path, "two")))).code == "too_many_adapters"
        assert len(engine.loaded) == 1 and not unloading.done()
    await unloading
    await adapters.load("b", folder_of(tmp_path, "two"))


async def test_a_client_that_leaves_keeps_no_place(tmp_path: Path):
    engine = Engine()
    adapters, _ = adapters_of(engine)
    await adapters.load("a", folder_of(tmp_path))
    with adapters.use("a"):
        unloading = asyncio.create_task(adapters.unload("a"))
        await asyncio.sleep(0)
        unloading.cancel()
        await asyncio.gather(unloading, return_exceptions=True)
        assert engine.loaded
    for _ in range(3):
        await asyncio.sleep(0)
    assert not engine.loaded


async def test_a_stream_uses_its_adapter_to_its_end(tmp_path: Path):
    async def two() -> AsyncGenerator[str, None]:
        yield "first"
        yield "second"

    adapters, _ = adapters_of(Engine())
    await adapters.load("a", folder_of(tmp_path))
    plain = two()
    assert adapters.held("nano", plain) is plain
    events = adapters.held("a", two())
    assert await anext(events) == "first"
    unloading = asyncio.create_task(adapters.unload("a"))
    assert [event async for event in events] == ["second"] and not unloading.done()
    await unloading


async def test_what_does_not_fit_says_why(tmp_path: Path):
    engine = Engine()
    adapters, _ = adapters_of(engine)
    high = await refusal(adapters.load("a", folder_of(tmp_path, rank=16)))
    assert high.code == "invalid_adapter" and "the rank 16, and the server takes 8 at most" in high.message
    (tmp_path / "empty").mkdir()
    empty = await refusal(adapters.load("a", tmp_path / "empty"))
    assert "the folder holds no adapter_config.json" in empty.message
    await adapters.load("a", folder_of(tmp_path))
    assert (await refusal(adapters.load("a", folder_of(tmp_path)))).code == "adapter_exists"


async def test_what_the_engine_refuses_leaves_nothing_and_no_path(tmp_path: Path):
    engine = Engine()
    adapters, models = adapters_of(engine)
    folder = folder_of(tmp_path)
    engine.refuses = f"no weights in {folder}."
    refused = await refusal(adapters.load("a", folder))
    assert refused.message == "lora_path: the adapter can't be used: no weights in <path>."
    assert (refused.status, refused.param) == (400, "lora_path")
    assert not adapters.names and not models.lora_requests and not engine.loaded


async def test_changed_weights_need_another_folder(tmp_path: Path):
    adapters, _ = adapters_of(Engine())
    folder = folder_of(tmp_path)
    await adapters.load("a", folder)
    await adapters.unload("a")
    await adapters.load("a", folder)
    await adapters.unload("a")
    folder_of(tmp_path, rank=4)
    assert "Put it into another folder" in (await refusal(adapters.load("a", folder))).message


async def test_what_a_last_step_has_loaded_again_is_removed(tmp_path: Path):
    engine = Engine()
    adapters, models = adapters_of(engine)
    await adapters.load("a", folder_of(tmp_path))
    engine.loaded.add(77)
    await adapters.load("b", folder_of(tmp_path, "two"))
    assert engine.loaded == {request.lora_int_id for request in models.lora_requests.values()}
