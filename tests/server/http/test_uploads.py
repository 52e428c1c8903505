"""OpenAI's uploads over HTTP: parts become one file."""

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.files import uploads
from tests.server.http.test_files import bearer, contents, files_client, key_file, refusal

PIECES = [b"first ", b"second " * 50_000, b"third"]
WHOLE = b"".join(PIECES)


async def announce(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    body = {"filename": "clip.mp4", "purpose": "vision", "bytes": len(WHOLE), "mime_type": "video/mp4"}
    reply = await client.post("/v1/uploads", json=body | fields, headers=headers)
    assert reply.status_code == 200, reply.text
    created: dict[str, Any] = reply.json()
    return created


async def send(
    client: httpx.AsyncClient, upload_id: str, piece: bytes, headers: dict[str, str] | None = None
) -> httpx.Response:
    files = {"data": ("blob", piece)}
    return await client.post(f"/v1/uploads/{upload_id}/parts", files=files, headers=headers)


async def send_all(client: httpx.AsyncClient, upload_id: str) -> list[str]:
    """Send the pieces at the same time and in another order, and return the ids of their parts in order."""
    order = random.Random(1).sample(range(len(PIECES)), len(PIECES))
    replies = await asyncio.gather(*(send(client, upload_id, PIECES[index]) for index in order))
    parts = {index: reply.json()["id"] for index, reply in zip(order, replies, strict=True)}
    return [parts[index] for index in range(len(PIECES))]


async def complete(
    client: httpx.AsyncClient, upload_id: str, part_ids: list[str], **fields: Any
) -> httpx.Response:
    return await client.post(f"/v1/uploads/{upload_id}/complete", json={"part_ids": part_ids, **fields})


def part_files(folder: Path) -> list[str]:
    return [path.name for path in (folder / "files").rglob("part_*")]


async def test_parts_become_a_file_in_the_order_of_the_request(tmp_path: Path):
    async with files_client(tmp_path) as client:
        created = await announce(client)
        assert created["status"] == "pending" and created["file"] is None
        assert created["object"] == "upload" and created["expires_at"] - created["created_at"] == 3600
        part_ids = await send_all(client, created["id"])
        digest = hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()
        done = (await complete(client, created["id"], part_ids, md5=digest)).json()
        assert done["status"] == "completed" and done["id"] == created["id"]
        file = done["file"]
        assert (file["bytes"], file["filename"], file["purpose"]) == (len(WHOLE), "clip.mp4", "vision")
        assert (await client.get(f"/v1/files/{file['id']}")).json() == file
        assert (await client.get(f"/v1/files/{file['id']}/content")).content == WHOLE
        again = (await complete(client, created["id"], part_ids)).json()
        assert again == done
        assert len((await client.get("/v1/files")).json()["data"]) == 1
    assert part_files(tmp_path) == [] and contents(tmp_path) == [file["id"]]


async def test_parts_outlive_the_server(tmp_path: Path):
    async with files_client(tmp_path) as client:
        created = await announce(client)
        part_ids = await send_all(client, created["id"])
    async with files_client(tmp_path) as client:
        done = (await complete(client, created["id"], part_ids)).json()
        assert (await client.get(f"/v1/files/{done['file']['id']}/content")).content == WHOLE


async def test_only_the_right_parts_are_completed(tmp_path: Path):
    async with files_client(tmp_path) as client:
        created = await announce(client)
        part_ids = await send_all(client, created["id"])
        other = await announce(client)
        foreign = (await send(client, other["id"], b"x")).json()["id"]
        for wrong in (part_ids[:2], [*part_ids, foreign], [*part_ids[:2], part_ids[1]], ["part_\0"]):
            error = refusal(await complete(client, created["id"], wrong), 400, "invalid_value")
            assert error["param"] == "part_ids"
        refusal(await complete(client, created["id"], []), 400, "invalid_value")
        swapped = part_ids[::-1]
        digest = hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()
        refusal(await complete(client, created["id"], swapped, md5=digest), 400, "checksum_mismatch")
        assert (await complete(client, created["id"], part_ids, md5=digest.upper())).status_code == 200


async def test_a_cancelled_upload_leaves_nothing(tmp_path: Path):
    async with files_client(tmp_path) as client:
        created = await announce(client)
        part_ids = await send_all(client, created["id"])
        path = f"/v1/uploads/{created['id']}/cancel"
        assert (await client.post(path)).json()["status"] == "cancelled"
        assert (await client.post(path)).json()["status"] == "cancelled"
        refusal(await send(client, created["id"], b"x"), 409, "upload_not_pending")
        refusal(await complete(client, created["id"], part_ids), 409, "upload_not_pending")
    assert part_files(tmp_path) == [] and contents(tmp_path) == []


async def test_an_expired_upload_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "UPLOAD_SECONDS", -1.0)
    async with files_client(tmp_path) as client:
        created = await announce(client)
        error = refusal(await send(client, created["id"], b"x"), 409, "upload_not_pending")
        assert "expired" in error["message"]


async def test_limits_hold_for_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "PART_BYTES", 100)
    keys = key_file(tmp_path, first="max_stored_bytes = 250", second="max_file_bytes = 10")
    async with files_client(tmp_path, api_keys=keys) as client:
        first = bearer("first")
        created = await announce(client, first, bytes=250)
        refusal(await send(client, created["id"], b"x" * 101, first), 413, "file_too_large")
        for _ in range(2):
            assert (await send(client, created["id"], b"x" * 100, first)).status_code == 200
        refusal(await send(client, created["id"], b"x" * 51, first), 413, "storage_quota_exceeded")
        refusal(await send(client, created["id"], b"", first), 400, "invalid_value")
        body = {"filename": "a", "purpose": "vision", "bytes": 51, "mime_type": "x/y"}
        refusal(await client.post("/v1/uploads", json=body, headers=first), 413, "storage_quota_exceeded")
        refusal(await client.post("/v1/uploads", json=body, headers=bearer("second")), 413, "file_too_large")


async def test_another_key_does_not_see_an_upload(tmp_path: Path):
    async with files_client(tmp_path, api_keys=key_file(tmp_path)) as client:
        created = await announce(client, bearer("first"))
        second = bearer("second")
        refusal(await send(client, created["id"], b"x", second), 404, "upload_not_found")
        for action in ("complete", "cancel"):
            path = f"/v1/uploads/{created['id']}/{action}"
            reply = await client.post(path, json={"part_ids": ["a"]}, headers=second)
            refusal(reply, 404, "upload_not_found")
        refusal(await client.post("/v1/uploads/%00/cancel", headers=second), 404, "upload_not_found")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "batch_output"}, "purpose"),
        ({"bytes": 0}, "bytes"),
        ({"filename": ""}, "filename"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_field_of_an_upload_is_refused(tmp_path: Path, fields: dict[str, Any], param: str):
    async with files_client(tmp_path) as client:
        body = {"filename": "a", "purpose": "vision", "bytes": 5, "mime_type": "x/y", **fields}
        reply = await client.post("/v1/uploads", json=body)
        assert reply.status_code == 400 and reply.json()["error"]["param"] == param, reply.text


async def test_two_requests_to_complete_make_one_file(tmp_path: Path):
    async with files_client(tmp_path) as client:
        created = await announce(client)
        part_ids = await send_all(client, created["id"])
        replies = await asyncio.gather(*(complete(client, created["id"], part_ids) for _ in range(4)))
        assert {reply.status_code for reply in replies} <= {200, 409, 503}
        assert 200 in {reply.status_code for reply in replies}
        assert len((await client.get("/v1/files")).json()["data"]) == 1
