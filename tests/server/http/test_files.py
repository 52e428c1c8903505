"""OpenAI's files over HTTP, with a fake engine and a real folder and database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.access.key_file import digest_of
from tests.file_limit import files_up_to
from tests.server.apps import app_with, client_of, listening
from tests.server.batches.echo_server import echo_server
from tests.server.fakes import FakeEngine

KEYS = ("first", "second")


def key_file(folder: Path, **limits: str) -> Path:
    """Write a file of the keys `first` and `second`, which are `key of NAME`, with these further lines."""
    path = folder / "keys.toml"
    tables = [
        f'[keys.{name}]\nsha256 = "{digest_of(f"key of {name}")}"\n{limits.get(name, "")}\n' for name in KEYS
    ]
    path.write_text("".join(tables))
    return path


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer key of {name}"}


@asynccontextmanager
async def files_client(folder: Path, **chosen: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app_with(FakeEngine(["yes"]), files=folder / "files", **chosen)) as client:
        yield client


async def upload(
    client: httpx.AsyncClient,
    content: bytes = b"abc",
    name: str = "a.jsonl",
    headers: dict[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
) -> httpx.Response:
    data = {"purpose": "user_data", **(fields or {})}
    return await client.post("/v1/files", data=data, files={"file": (name, content)}, headers=headers)


def refusal(reply: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    error: dict[str, Any] = reply.json()["error"]
    assert error["code"] == code, error
    return error


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "files").rglob("file-*"))


async def test_a_file_is_kept_listed_read_and_deleted(tmp_path: Path):
    content = bytes(range(256)) * 20_000
    async with files_client(tmp_path) as client:
        created = (await upload(client, content, "photo.png", fields={"purpose": "vision"})).json()
        assert created | {"id": "", "created_at": 0} == {
            "id": "",
            "object": "file",
            "bytes": len(content),
            "created_at": 0,
            "expires_at": None,
            "filename": "photo.png",
            "purpose": "vision",
            "status": "processed",
            "status_details": None,
        }
        one = f"/v1/files/{created['id']}"
        assert (await client.get(one)).json() == created
        assert (await client.get("/v1/files")).json()["data"] == [created]
        read = await client.get(f"{one}/content")
        assert read.content == content and read.headers["content-type"] == "application/octet-stream"
        assert (await client.get(f"{one}/content", headers={"Range": "bytes=5-9"})).content == content[5:10]
        assert (await client.delete(one)).json() == {"id": created["id"], "object": "file", "deleted": True}
        for path in (one, f"{one}/content"):
            assert refusal(await client.get(path), 404, "file_not_found")["param"] == "file_id"
        refusal(await client.delete(one), 404, "file_not_found")
    assert contents(tmp_path) == []


async def test_files_outlive_the_server(tmp_path: Path):
    async with files_client(tmp_path) as client:
        created = (await upload(client, b"kept")).json()
    async with files_client(tmp_path) as client:
        assert (await client.get(f"/v1/files/{created['id']}")).json() == created
        assert (await client.get(f"/v1/files/{created['id']}/content")).content == b"kept"


async def test_pages_follow_each_other_in_both_orders(tmp_path: Path):
    async with files_client(tmp_path) as client:
        purposes = ["batch", "vision", "batch", "user_data", "batch"]
        ids = [(await upload(client, fields={"purpose": purpose})).json()["id"] for purpose in purposes]

        async def pages(**query: Any) -> list[str]:
            found: list[str] = []
            while True:
                reply = (await client.get("/v1/files", params=query)).json()
                page = [entry["id"] for entry in reply["data"]]
                assert (reply["first_id"], reply["last_id"]) == (page[0], page[-1])
                found += page
                if not reply["has_more"]:
                    return found
                query["after"] = reply["last_id"]

        assert await pages(limit=2, order="asc") == ids
        assert await pages(limit=2) == ids[::-1] == await pages()
        assert await pages(limit=1, purpose="batch", order="asc") == ids[::2]
        empty = (await client.get("/v1/files", params={"purpose": "batch_output"})).json()
        assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        for wrong in ({"limit": 0}, {"limit": "x"}, {"limit": 10_001}, {"order": "up"}, {"purpose": "x"}):
            refusal(await client.get("/v1/files", params=wrong), 400, "invalid_value")
        refusal(await client.get("/v1/files", params={"after": "file-x"}), 400, "invalid_value")


async def test_another_key_does_not_see_a_file(tmp_path: Path):
    async with files_client(tmp_path, api_keys=key_file(tmp_path)) as client:
        file_id = (await upload(client, headers=bearer("first"))).json()["id"]
        other = bearer("second")
        assert (await client.get("/v1/files", headers=other)).json()["data"] == []
        refusal(await client.get(f"/v1/files/{file_id}", headers=other), 404, "file_not_found")
        refusal(await client.get(f"/v1/files/{file_id}/content", headers=other), 404, "file_not_found")
        refusal(await client.delete(f"/v1/files/{file_id}", headers=other), 404, "file_not_found")
        refusal(await client.get("/v1/files", params={"after": file_id}, headers=other), 400, "invalid_value")
        refusal(await client.get(f"/v1/files/{file_id}"), 401, "invalid_api_key")
        assert (await client.get(f"/v1/files/{file_id}", headers=bearer("first"))).status_code == 200


async def test_limits_hold_while_a_file_arrives(tmp_path: Path):
    keys = key_file(tmp_path, first="max_stored_bytes = 1000", second="max_file_bytes = 100")
    async with files_client(tmp_path, api_keys=keys) as client:
        first, second = bearer("first"), bearer("second")
        kept = (await upload(client, b"x" * 600, headers=first)).json()
        error = refusal(await upload(client, b"x" * 401, headers=first), 413, "storage_quota_exceeded")
        assert "1000 bytes" in error["message"]
        refusal(await upload(client, b"x" * 101, headers=second), 413, "file_too_large")
        assert (await upload(client, b"x" * 100, headers=second)).status_code == 200
        assert (await upload(client, b"x" * 400, headers=first)).status_code == 200
        refusal(await upload(client, b"x", headers=first), 413, "storage_quota_exceeded")
        await client.delete(f"/v1/files/{kept['id']}", headers=first)
        assert (await upload(client, b"x" * 600, headers=first)).status_code == 200
    assert len(contents(tmp_path)) == 3


async def test_many_files_at_once_stay_within_the_quota(tmp_path: Path):
    async with files_client(tmp_path, max_stored_bytes=1000) as client:
        replies = await asyncio.gather(*(upload(client, b"x" * 150) for _ in range(20)))
        statuses = [reply.status_code for reply in replies]
        assert set(statuses) == {200, 413} and statuses.count(200) <= 6
        stored = sum(entry["bytes"] for entry in (await client.get("/v1/files")).json()["data"])
    assert stored == 150 * statuses.count(200) and len(contents(tmp_path)) == statuses.count(200)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"purpose": "assistants"}, "invalid_value", "purpose"),
        ({"purpose": "batch_output"}, "invalid_value", "purpose"),
        ({"model": "x"}, "unknown_parameter", "model"),
        ({"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "invalid_value", None),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}, "invalid_value", None),
        ({"purpose": "x" * 70_000}, "request_too_large", None),
    ],
)
async def test_wrong_fields_are_refused_and_nothing_stays(
    tmp_path: Path, fields: dict[str, str], code: str, param: str | None
):
    async with files_client(tmp_path) as client:
        reply = await upload(client, fields=fields)
        error = refusal(reply, 413 if code == "request_too_large" else 400, code)
        assert param is None or error["param"] == param
    assert contents(tmp_path) == []


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b"{}", 415, "unsupported_content_type"),
        ("multipart/form-data", b"--x", 415, "unsupported_content_type"),
        ("multipart/form-data; boundary=x", b"", 400, "invalid_form"),
        ("multipart/form-data; boundary=x", b"nonsense", 400, "invalid_form"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc',
            400,
            "invalid_form",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x--\r\n',
            400,
            "missing_required_parameter",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc\r\n--x--\r\n',
            400,
            "missing_required_parameter",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nabc\r\n--x--\r\n'
            + b"\n" * 300_000,
            413,
            "request_too_large",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nabc\r\n--x--\r\n',
            400,
            "invalid_form",
        ),
    ],
)
async def test_a_body_that_is_no_such_form_is_refused(
    tmp_path: Path, content_type: str, body: bytes, status: int, code: str
):
    async with files_client(tmp_path) as client:
        reply = await client.post("/v1/files", content=body, headers={"Content-Type": content_type})
        refusal(reply, status, code)
    assert contents(tmp_path) == []


async def test_the_file_may_come_before_its_purpose_and_its_name_is_no_path(tmp_path: Path):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../etc/a b.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\nline\r\n--not x\r\n"
        b'\r\n--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n--x--\r\n'
    )
    async with files_client(tmp_path) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        created = (await client.post("/v1/files", content=body, headers=headers)).json()
        assert (created["filename"], created["bytes"]) == ("a b.txt", 15)
        read = await client.get(f"/v1/files/{created['id']}/content")
        assert read.content == b"line\r\n--not x\r\n"


async def test_a_file_expires_when_its_client_says(tmp_path: Path):
    async with files_client(tmp_path) as client:
        fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        created = (await upload(client, fields=fields)).json()
        assert created["expires_at"] - created["created_at"] in (3600, 3601)


async def test_without_a_folder_the_endpoints_name_the_flag():
    async with client_of(app_with(FakeEngine(["yes"]))) as client:
        for reply in (await client.get("/v1/files"), await upload(client)):
            assert "--files" in refusal(reply, 404, "no_files")["message"]


async def test_a_full_disk_refuses_a_file_and_nothing_stays(tmp_path: Path):
    async with files_client(tmp_path) as client:
        await upload(client, b"before")
        with files_up_to(2**20):
            refusal(await upload(client, b"x" * (3 * 2**20)), 503, "storage_failed")
        assert (await upload(client, b"after")).status_code == 200
    assert len(contents(tmp_path)) == 2


async def test_a_client_that_leaves_leaves_nothing(tmp_path: Path):
    """Half of a file has come when its client closes the connection."""
    app = app_with(FakeEngine(["yes"]), files=tmp_path / "files")
    unfinished = tmp_path / "files" / "unfinished"
    async with listening(app) as url, httpx.AsyncClient(base_url=url) as client:
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9999999\r\n"
        writer.write(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
        writer.write(b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n')
        writer.write(b"y" * 3_000_000)
        await writer.drain()
        while sum(path.stat().st_size for path in unfinished.iterdir()) == 0:
            await asyncio.sleep(0.01)
        writer.close()
        while list(unfinished.iterdir()):
            await asyncio.sleep(0.01)
        assert (await client.get("/v1/files")).json()["data"] == []
    assert contents(tmp_path) == []


async def test_a_large_file_is_never_whole_in_memory(tmp_path: Path):
    """The server's highest memory use grows by much less than the file's size."""
    size = 256 * 2**20
    with echo_server(tmp_path, "server", 0.0) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            await upload(client, b"x" * 2**20)
            before = highest_memory(server.process.pid)

            async def body() -> AsyncIterator[bytes]:
                yield b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
                yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
                for _ in range(size // 2**20):
                    yield bytes(2**20)
                yield b"\r\n--x--\r\n"

            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            created = await client.post("/v1/files", content=body(), headers=headers)
            assert created.json()["bytes"] == size
            received = 0
            async with client.stream("GET", f"/v1/files/{created.json()['id']}/content") as reply:
                async for piece in reply.aiter_bytes():
                    received += len(piece)
            assert received == size
            assert highest_memory(server.process.pid) - before < 48 * 2**20


def highest_memory(pid: int) -> int:
    """Return the most bytes of memory that a process has used."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
