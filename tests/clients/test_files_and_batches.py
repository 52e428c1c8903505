"""The clients upload files and run batches with the real server; only its engine is scripted."""

import asyncio
import dataclasses
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from clients.sdk.batches.objects import BatchCounts, BatchResult
from clients.sdk.client import AsyncClient, Client
from clients.sdk.errors import ApiError, ClientError, InvalidRequest, UploadInterrupted
from clients.sdk.partial_upload import PartialUpload
from clients.sdk.questions import question
from tests.clients.test_cli import run
from tests.server.apps import app_with, client_of, listening
from tests.server.fakes import FakeCritic, FakeEngine
from tests.server.http.test_files import key_file

CONTENT = bytes(range(256)) * 400  # 102,400 bytes, which is several parts of a test's size


def engine() -> FakeEngine:
    return FakeEngine(["eight", "seven"], FakeCritic({"eight": [0.2], "seven": [0.9]}))


@asynccontextmanager
async def server(folder: Path, **chosen: Any) -> AsyncIterator[str]:
    app = app_with(engine(), files=folder / "files", **chosen)
    async with listening(app) as url:
        while True:
            async with httpx.AsyncClient() as http:
                if (await http.get(f"{url}/readyz")).status_code == 200:
                    break
        yield url


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with server(tmp_path) as address:
        yield address


async def test_a_file_is_uploaded_listed_read_and_deleted(url: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(CONTENT)
    reports: list[tuple[int, int]] = []

    def use_files() -> None:
        with Client(url) as client:
            file = client.files.upload(path, on_progress=lambda sent, total: reports.append((sent, total)))
            assert (file.filename, file.bytes, file.purpose) == ("clip.mp4", len(CONTENT), "vision")
            second = client.files.upload(b"{}", purpose="user_data", filename="b.json", expires_after=3600)
            assert second.expires_at is not None and second.created_at is not None
            assert second.expires_at - second.created_at == 3600
            assert {one.id for one in client.files.list()} == {file.id, second.id}
            assert [one.id for one in client.files.list("user_data")] == [second.id]
            assert client.files.retrieve(file.id) == file
            assert client.files.content(file.id) == CONTENT
            client.files.download(file.id, tmp_path / "again.mp4")
            assert (tmp_path / "again.mp4").read_bytes() == CONTENT
            client.files.delete(file.id)
            with pytest.raises(ApiError) as refusal:
                client.files.download(file.id, tmp_path / "none.mp4")
            assert (refusal.value.status, refusal.value.code) == (404, "file_not_found")
            assert not list(tmp_path.glob("none*"))

    await asyncio.to_thread(use_files)
    assert reports[-1] == (len(CONTENT), len(CONTENT)) and reports == sorted(reports)


async def test_the_client_for_asyncio_does_the_same(url: str, tmp_path: Path) -> None:
    async with AsyncClient(url) as client:
        file = await client.files.upload(CONTENT, filename="a.bin", part_bytes=30_000)
        assert await client.files.content(file.id) == CONTENT
        assert [one.id for one in await client.files.list()] == [file.id]
        assert await client.files.retrieve(file.id) == file
        await client.files.download(file.id, tmp_path / "a.bin")
        assert (tmp_path / "a.bin").read_bytes() == CONTENT
        await client.files.delete(file.id)
        assert await client.files.list() == []
        batch = await client.batches.create({"a": question("How many?")})
        ended = await client.batches.wait(batch.id)
        assert [result.custom_id for result in await client.batches.results(ended)] == ["a"]


async def test_an_upload_in_parts_goes_on_in_another_process(tmp_path: Path) -> None:
    """After the second part the server can't be reached any more, and the state survives as JSON."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(CONTENT)
    posted: list[str] = []
    states: list[PartialUpload] = []

    class Breaking(httpx.AsyncBaseTransport):
        def __init__(self, app: Any) -> None:
            self._app = httpx.ASGITransport(app=app)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            posted.append(request.url.path)
            if sum(path.endswith("/parts") for path in posted) > 2:
                raise httpx.ConnectError("it is gone")
            return await self._app.handle_async_request(request)

    app = app_with(engine(), files=tmp_path / "files")
    async with client_of(app):
        async with AsyncClient("http://localhost", transport=Breaking(app), max_retries=0) as client:
            with pytest.raises(UploadInterrupted, match="2 parts") as failure:
                await client.files.upload(path, part_bytes=30_000, on_part=states.append)
        assert states[-1] == failure.value.partial
        kept = json.dumps(dataclasses.asdict(failure.value.partial))
        reports: list[int] = []
        async with AsyncClient("http://localhost", transport=httpx.ASGITransport(app=app)) as client:
            file = await client.files.upload(
                path,
                resume=PartialUpload(**json.loads(kept)),
                on_progress=lambda sent, _: reports.append(sent),
            )
            stored = await client.files.content(file.id)
            path.write_bytes(b"another file")
            with pytest.raises(InvalidRequest, match="has changed"):
                await client.files.upload(path, resume=failure.value.partial)
    assert hashlib.sha256(stored).digest() == hashlib.sha256(CONTENT).digest()
    assert reports[0] > 60_000  # the first two parts were not sent again
    assert posted.count("/v1/uploads") == 1


async def test_an_upload_that_the_server_gave_up_is_begun_anew(url: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(CONTENT)
    status = path.stat()
    partial = PartialUpload(
        upload_id="upload_none",
        size=status.st_size,
        changed_ns=status.st_mtime_ns,
        part_bytes=30_000,
        part_ids=(),
    )
    async with AsyncClient(url) as client:
        with pytest.raises(ApiError) as refusal:
            await client.files.upload(path, resume=partial)
    assert refusal.value.code == "upload_not_found"


async def test_a_missing_file_is_an_error_of_the_system(url: str, tmp_path: Path) -> None:
    async with AsyncClient(url) as client:
        with pytest.raises(FileNotFoundError):
            await client.files.upload(tmp_path / "none.mp4")


async def test_a_batch_gives_typed_results(url: str) -> None:
    counts: list[BatchCounts] = []
    bodies = {
        "first": question("How many?", best_of=2, seed=1),
        "wrong": question("How many?", best_of=0),
        "last": question("How many?"),
    }

    def run_batch() -> list[BatchResult]:
        with Client(url) as client:
            batch = client.batches.create(bodies, metadata={"name": "a"})
            ended = client.batches.wait(batch.id, on_counts=counts.append)
            assert ended.status == "completed" and ended.has_ended
            assert [(one.id, one.metadata) for one in client.batches.list()] == [(batch.id, {"name": "a"})]
            return list(client.batches.results(ended))

    results = {result.custom_id: result for result in await asyncio.to_thread(run_batch)}
    assert results.keys() == bodies.keys()
    first, wrong = results["first"].answer, results["wrong"].error
    assert first is not None and first.text == "seven" and first.step_scores == [0.9]
    assert wrong is not None and (wrong.status, wrong.param) == (400, "test_time_scaling.n")
    assert results["wrong"].answer is None and results["last"].error is None
    assert (counts[-1].total, counts[-1].completed, counts[-1].failed) == (3, 2, 1)


async def test_a_batch_that_was_refused_says_why(url: str) -> None:
    async with AsyncClient(url) as client:
        file = await client.files.upload(b'{"custom_id": "a"}\n', purpose="batch", filename="a.jsonl")
        batch = await client.batches.create_from_file(file.id)
        with pytest.raises(InvalidRequest, match="has not ended"):
            await client.batches.results(batch)
        assert [one.id for one in await client.batches.list()] == [batch.id]
        ended = await client.batches.wait(batch.id)
        with pytest.raises(ClientError, match="failed in line 1: "):
            await client.batches.results(ended)
        with pytest.raises(InvalidRequest, match="nothing to do"):
            await client.batches.create({})
        with pytest.raises(ApiError):
            await client.batches.cancel(ended.id)


async def test_the_key_of_a_client_owns_its_files(tmp_path: Path) -> None:
    async with server(tmp_path, api_keys=key_file(tmp_path)) as url:
        async with AsyncClient(url, api_key="key of first") as first:
            file = await first.files.upload(b"abc")
        async with AsyncClient(url, api_key="key of second") as second:
            assert await second.files.list() == []
            with pytest.raises(ApiError) as refusal:
                await second.files.retrieve(file.id)
            assert refusal.value.status == 404
        async with AsyncClient(url, api_key="") as nobody:
            with pytest.raises(ApiError) as refusal:
                await nobody.files.list()
            assert refusal.value.code == "invalid_api_key"


async def test_ask_uploads_first_and_prints_the_ids(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "sheet.png"
    Image.new("RGB", (20, 20), "red").save(image)
    common = ["--no-stream", "--base-url", url]
    assert await asyncio.to_thread(run, "ask", "q", "--image", str(image), "--upload", *common) == 0
    (file_id,) = re.findall(r"sheet\.png as (file-\w+)", capsys.readouterr().err)
    assert await asyncio.to_thread(run, "ask", "q", "--file-id", file_id, *common) == 0
    assert await asyncio.to_thread(run, "ask", "q", "--file-id", "file-none", *common) == 1
    assert "file-none" in capsys.readouterr().err
