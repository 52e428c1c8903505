"""Contents in a storage elsewhere: the folder has copies, which come and go, and several servers share it."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pydantic import ValidationError

from server.errors import ApiError, StartupError
from server.files.remote_contents import RemoteContents
from server.files.storage import Storage, open_storage
from tests.server.apps import settings
from tests.server.batches.echo import CHAT, batch_client, jsonl, line, new_batch, records, until
from tests.server.files.test_store import keep, principal

URL = "memory://contents/of/a/test"


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    """fsspec's storage in memory, which all of a process share."""
    storage = fsspec.filesystem("memory")
    yield storage
    if storage.exists("/contents"):
        storage.rm("/contents", recursive=True)


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "contents").iterdir())


def old(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


async def test_what_one_server_keeps_another_one_reads(tmp_path: Path, memory: Any):
    async with open_storage(settings(files=tmp_path / "one", file_url=URL)) as storage:
        row = await keep(storage, b"pixels")
        assert memory.cat(f"/contents/of/a/test/{row.id}") == b"pixels"
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "internvl3.sqlite").rename(tmp_path / "two" / "internvl3.sqlite")
    async with open_storage(settings(files=tmp_path / "two", file_url=URL)) as storage:
        assert await storage.files.find(principal(), row.id) == row and copies(tmp_path / "two") == []
        opened = await asyncio.gather(*(storage.files.open(principal(), row.id) for _ in range(5)))
        assert {file.path.read_bytes() for file in opened} == {b"pixels"}
        assert copies(tmp_path / "two") == [row.id] and not list((tmp_path / "two" / "unfinished").iterdir())
        await storage.files.remove(principal(), row.id)
        assert copies(tmp_path / "two") == [] and not memory.exists(f"/contents/of/a/test/{row.id}")


async def test_copies_that_nobody_uses_make_room(tmp_path: Path):
    async with open_storage(settings(files=tmp_path, file_url=URL)) as storage:
        rows = [await keep(storage, b"x" * 100) for _ in range(3)]
        for row, hours in zip(rows, (3, 2, 0), strict=True):
            old(storage.folder.path(row.id), hours * 3600)
        storage.folder.drop_copies(250)
        assert copies(tmp_path) == sorted(row.id for row in rows[1:])
        storage.folder.drop_copies(0)
        assert copies(tmp_path) == [rows[2].id], "it was used within the hour"
        assert (await storage.files.open(principal(), rows[0].id)).path.read_bytes() == b"x" * 100


async def test_contents_in_the_folder_alone_are_no_copies(tmp_path: Path):
    async with open_storage(settings(files=tmp_path)) as storage:
        row = await keep(storage, b"only here")
        old(storage.folder.path(row.id), 7200)
        storage.folder.drop_copies(0)
        assert copies(tmp_path) == [row.id]


async def test_only_what_belongs_to_no_file_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Any
):
    async with open_storage(settings(files=tmp_path, file_url=URL)) as storage:
        row = await keep(storage, b"kept")
        memory.pipe("/contents/of/a/test/file-a", b"x")
        await storage.files.clean_up()
        assert memory.exists("/contents/of/a/test/file-a"), "it may be that of a file that arrives now"
        monkeypatch.setattr("server.files.content_folder.LEFTOVER_SECONDS", -1)
        await storage.files.clean_up()
        assert not memory.exists("/contents/of/a/test/file-a")
        assert (await storage.files.open(principal(), row.id)).path.read_bytes() == b"kept"


async def test_a_content_that_is_gone_is_no_file(tmp_path: Path, memory: Any):
    async with open_storage(settings(files=tmp_path, file_url=URL)) as storage:
        row = await keep(storage, b"pixels")
        storage.folder.remove(row.id)
        with pytest.raises(ApiError) as refused:
            await storage.files.open(principal(), row.id)
        assert (refused.value.status, refused.value.code) == (404, "file_not_found")


async def test_a_storage_that_fails_is_a_503_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*arguments: Any) -> None:
        raise RuntimeError("secret address")

    async with open_storage(settings(files=tmp_path, file_url=URL)) as storage:
        row = await keep(storage, b"pixels")
        storage.folder.path(row.id).unlink()
        for method, work in (
            ("put_file", _keep_more),
            ("get_file", lambda one: one.files.open(principal(), row.id)),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(fsspec.get_filesystem_class("memory"), method, fail)
                with pytest.raises(ApiError) as refused:
                    await work(storage)
            assert (refused.value.status, refused.value.code) == (503, "storage_failed")
        assert copies(tmp_path) == [] and not list((tmp_path / "unfinished").iterdir())
        assert (await storage.files.open(principal(), row.id)).path.read_bytes() == b"pixels"


async def _keep_more(storage: Storage) -> None:
    await keep(storage, b"more")


async def test_batches_and_uploads_use_it(tmp_path: Path, memory: Any):
    lines = [line(f"q{number}") for number in range(5)]
    async with batch_client(tmp_path, file_url=URL) as client:
        content = jsonl(lines)
        body = {"filename": "a", "purpose": "batch", "bytes": len(content), "mime_type": "x/y"}
        upload = (await client.post("/v1/uploads", json=body)).json()["id"]
        part = await client.post(f"/v1/uploads/{upload}/parts", files={"data": ("p", content)})
        for path in (tmp_path / "files" / "contents").iterdir():
            path.unlink()  # as if the part had come to another server
        done = await client.post(f"/v1/uploads/{upload}/complete", json={"part_ids": [part.json()["id"]]})
        assert (await client.get(f"/v1/files/{done.json()['file']['id']}/content")).content == content
        batch = await until(client, await new_batch(client, content, endpoint=CHAT))
        for path in (tmp_path / "files" / "contents").iterdir():
            path.unlink()
        assert len(await records(client, batch["output_file_id"])) == 5
    assert len(memory.ls("/contents/of/a/test")) == 3, "two files of lines and one of results"


def test_a_folder_is_a_storage_too(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    remote = RemoteContents(f"file://{tmp_path}/elsewhere")
    remote.put(tmp_path / "a", "file-a")
    assert remote.ids() == ["file-a"] and remote.age("file-a") < 3600 and remote.age("file-b") == 0
    remote.get("file-a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
    remote.remove("file-a")
    remote.remove("file-a")
    assert remote.ids() == []
    (tmp_path / "elsewhere").rmdir()
    assert remote.ids() == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://x", "the storage can't be used: Protocol not known"),
        ("oci://bucket@space/x", "needs a package that isn't installed: Install ocifs"),
        ("file:///dev/null/x", "can't be used"),
    ],
)
def test_a_storage_that_cannot_be_used_ends_the_start(url: str, message: str):
    with pytest.raises(StartupError, match=message):
        RemoteContents(url)


def test_its_setting_needs_a_folder_and_holds_no_password(tmp_path: Path):
    with pytest.raises(ValidationError, match="--file-url needs --files"):
        settings(file_url=URL)
    with pytest.raises(ValidationError, match="must hold no password"):
        settings(files=tmp_path, file_url="sftp://me:secret@host/x")
