"""An admin key loads and unloads adapters; requests can name them as long as they are loaded."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.access.key_file import digest_of
from tests.server.apps import app_with, client_of, question
from tests.server.conftest import bearer
from tests.server.fakes import FakeEngine

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
CHAT = "/v1/chat/completions"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "adapters"
    (folder / "reports").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    return folder


def key_file(folder: Path) -> Path:
    path = folder / "keys.toml"
    path.write_text(
        f'[keys.admin]\nsha256 = "{digest_of("key of admin")}"\nadmin = true\n'
        f'[keys.first]\nsha256 = "{digest_of("key of first")}"\n'
    )
    return path


@pytest.fixture
async def client(root: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = app_with(FakeEngine(["yes"]), adapter_folder=root, api_keys=key_file(tmp_path), critic="none")
    async with client_of(app) as opened:
        opened.headers.update(bearer("admin"))
        yield opened


async def names(client: httpx.AsyncClient) -> list[str]:
    return [model["id"] for model in (await client.get("/v1/models")).json()["data"]]


def error(reply: httpx.Response) -> tuple[int, str]:
    body: dict[str, Any] = reply.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    return reply.status_code, body["code"]


async def test_it_is_listed_and_answers_until_it_is_unloaded(client: httpx.AsyncClient, root: Path):
    loaded = await client.post(LOAD, json={"lora_name": "reports", "lora_path": "reports"})
    assert (loaded.status_code, loaded.text) == (
        200,
        "Success: LoRA adapter 'reports' added successfully.",
    )
    assert await names(client) == ["nano", "reports"]
    assert (await client.get("/v1/models/reports")).json()["parent"] == "nano"
    reply = await client.post(CHAT, json=question(model="reports"), headers=bearer("first"))
    assert reply.json()["model"] == "reports"
    gone = await client.post(UNLOAD, json={"lora_name": "reports"})
    assert gone.text == "Success: LoRA adapter 'reports' removed successfully."
    assert await names(client) == ["nano"]
    assert error(await client.post(CHAT, json=question(model="reports"))) == (404, "model_not_found")
    assert error(await client.post(UNLOAD, json={"lora_name": "reports"})) == (404, "adapter_not_found")


async def test_its_whole_path_may_be_named(client: httpx.AsyncClient, root: Path):
    whole = {"lora_name": "reports", "lora_path": str(root / "reports")}
    assert (await client.post(LOAD, json=whole)).status_code == 200


@pytest.mark.parametrize("path", [LOAD, UNLOAD])
async def test_other_keys_may_not(client: httpx.AsyncClient, path: str):
    body = {"lora_name": "reports", "lora_path": "reports"}
    assert error(await client.post(path, json=body, headers=bearer("first"))) == (403, "admin_key_required")


@pytest.mark.parametrize("path", [LOAD, UNLOAD])
async def test_without_keys_nobody_may(root: Path, path: str):
    async with client_of(app_with(FakeEngine(["yes"]), adapter_folder=root)) as client:
        refused = await client.post(path, json={"lora_name": "reports", "lora_path": "reports"})
        assert error(refused) == (403, "admin_key_required")


async def test_without_a_folder_none_can_be_loaded(tmp_path: Path):
    async with client_of(app_with(FakeEngine(["yes"]), api_keys=key_file(tmp_path))) as client:
        client.headers.update(bearer("admin"))
        refused = await client.post(LOAD, json={"lora_name": "reports", "lora_path": "reports"})
        assert error(refused) == (404, "no_adapter_folder")


@pytest.mark.parametrize(
    "path",
    ["none", "../elsewhere", "{root}/../elsewhere", "link", "/etc", "nul\0", "x" * 1000, "../adapters-2"],
)
async def test_a_folder_elsewhere_is_none(client: httpx.AsyncClient, root: Path, path: str):
    (root / "link").symlink_to(root.parent / "elsewhere")
    (root.parent / "adapters-2").mkdir()
    named = path.replace("{root}", str(root))
    refused = await client.post(LOAD, json={"lora_name": "reports", "lora_path": named})
    assert error(refused) == (404, "adapter_not_found")
    assert str(root) not in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"lora_name": "nano"}, "adapter_exists", "lora_name"),
        ({"lora_name": "reports:bo8"}, "invalid_value", "lora_name"),
        ({"lora_name": "two words"}, "invalid_value", "lora_name"),
        ({"lora_name": ""}, "invalid_value", "lora_name"),
        ({"lora_name": None}, "invalid_value", "lora_name"),
        ({"lora_path": ""}, "invalid_value", "lora_path"),
        ({"load_inplace": True}, "invalid_value", "load_inplace"),
        ({"lora_pat": "reports"}, "unknown_parameter", "lora_pat"),
    ],
)
async def test_a_wrong_field_is_named(
    client: httpx.AsyncClient, change: dict[str, Any], code: str, param: str
):
    refused = await client.post(LOAD, json={"lora_name": "reports", "lora_path": "reports", **change})
    assert error(refused) == (400, code) and refused.json()["error"]["param"] == param
