"""What other parts of the server get from the store of files, and what is removed by itself."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from server.access.keys import Keys
from server.access.principal import Principal
from server.database.file_rows import FileRow
from server.database.upload_rows import remove_old_uploads
from server.errors import ApiError, StartupError
from server.files.storage import Storage, open_storage
from tests.server.apps import settings


def principal() -> Principal:
    return Keys(settings(), lambda name, usage: None).find(None)


async def keep(storage: Storage, content: bytes, lifetime: int | None = None) -> FileRow:
    async with storage.files.receiving(principal()) as arrival:
        await arrival.write(content)
        return await storage.files.keep(
            arrival, filename="a.png", purpose="vision", content_type="image/png", lifetime=lifetime
        )


async def test_a_file_is_opened_by_its_owner(tmp_path: Path):
    async with open_storage(settings(files=tmp_path)) as storage:
        row = await keep(storage, b"pixels")
        file = await storage.files.open(principal(), row.id)
        assert file.path.read_bytes() == b"pixels" and file.content_type == "image/png"
        with pytest.raises(ApiError) as error:
            await storage.files.open(principal(), "file-unknown", param="messages", status=400)
        assert (error.value.status, error.value.param) == (400, "messages")


async def test_only_what_belongs_to_no_file_is_removed(tmp_path: Path):
    async with open_storage(settings(files=tmp_path)) as storage:
        row = await keep(storage, b"kept")
        leftover, fresh = tmp_path / "contents" / "file-a", tmp_path / "contents" / "file-b"
        unfinished = tmp_path / "unfinished" / "file-c"
        for path in (leftover, fresh, unfinished):
            path.write_bytes(b"x")
        two_days_ago = time.time() - 2 * 86_400
        for path in (leftover, unfinished, storage.folder.path(row.id)):
            os.utime(path, (two_days_ago, two_days_ago))
        await storage.files.clean_up()
        assert fresh.exists() and not leftover.exists() and not unfinished.exists()
        assert (await storage.files.open(principal(), row.id)).path.read_bytes() == b"kept"


async def test_an_expired_file_is_gone(tmp_path: Path):
    async with open_storage(settings(files=tmp_path)) as storage:
        row = await keep(storage, b"old", lifetime=-1)
        with pytest.raises(ApiError, match="no file"):
            await storage.files.open(principal(), row.id)
        assert storage.folder.path(row.id).exists()
        await storage.files.clean_up()
        assert not storage.folder.path(row.id).exists()


async def test_the_parts_of_an_expired_upload_are_gone(tmp_path: Path):
    body = {"filename": "a", "purpose": "vision", "bytes": 9, "mime_type": "x/y"}
    async with open_storage(settings(files=tmp_path)) as storage:
        upload = await storage.uploads.create(principal(), body)
        async with storage.uploads.receiving(principal()) as arrival:
            await arrival.write(b"part")
            part = await storage.uploads.keep(arrival, upload.id)
        await storage.files.clean_up()
        assert storage.folder.path(part.id).exists()
        async with storage.database.transaction() as connection:
            assert await remove_old_uploads(connection, upload.expires_at - 1) == []
            assert await remove_old_uploads(connection, upload.expires_at + 1) == [part.id]


async def test_two_servers_do_not_share_an_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("server.database.connection.LOCK_SECONDS", 0.3)
    async with open_storage(settings(files=tmp_path)):
        with pytest.raises(StartupError, match="another server uses the database"):
            async with open_storage(settings(files=tmp_path)):
                pass
    async with open_storage(settings(files=tmp_path)):
        pass


async def test_a_server_waits_for_one_that_ends(tmp_path: Path):
    first = open_storage(settings(files=tmp_path))
    await first.__aenter__()
    second = open_storage(settings(files=tmp_path))
    opening = asyncio.create_task(second.__aenter__())
    await asyncio.sleep(0)
    await first.__aexit__(None, None, None)
    assert (await opening).files is not None
    await second.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no URL"),
        ("mysql://localhost/x", "mysql database; use SQLite or PostgreSQL"),
        ("sqlite://", "names no file"),
        ("sqlite:////nowhere/at/all", "can't use the database"),
        ("postgresql://user:secret@127.0.0.1:9/x", "can't use the database"),
    ],
)
async def test_a_database_that_cannot_be_used_ends_the_start(tmp_path: Path, url: str, message: str):
    with pytest.raises(StartupError, match=message) as error:
        async with open_storage(settings(files=tmp_path, database=url)):
            pass
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


async def test_a_folder_that_cannot_be_used_ends_the_start(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="can't keep files"):
        async with open_storage(settings(files=tmp_path / "file" / "folder")):
            pass
