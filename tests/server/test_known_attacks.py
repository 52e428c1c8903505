"""Attacks on servers like this one that became known, sent to the running server with API keys.

`pytest -s tests/server/test_known_attacks.py` prints what came back and the growth of the server's memory.
Other files test the timing of keys (tests/server/access), redirects (tests/server/media/test_fetch.py), slow
clients (tests/server/http/test_connections.py) and the caches of several keys (tests/server/test_keys.py).
"""

import io
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.server.conftest import bearer
from tests.server.media.test_loader import data_url, encoded
from tests.server.running import RunningServer
from tests.server.test_hostile_requests import memory_mib

pytestmark = pytest.mark.engine

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "How many?"}
LEAKS = ("Traceback", "object at 0x", "/site-packages", "/tmp/", ".py")  # none of them belongs into an error


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "nano", "messages": [USER], "max_tokens": 4, **fields}


def about(part: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A question about one content part."""
    return chat(messages=[{"role": "user", "content": [part, {"type": "text", "text": "?"}]}], **fields)


def image(url: str, **fields: Any) -> dict[str, Any]:
    return about({"type": "image_url", "image_url": {"url": url}}, **fields)


def video(url: str, **fields: Any) -> dict[str, Any]:
    return about({"type": "video_url", "video_url": {"url": url}}, **fields)


def bomb() -> bytes:
    """A PNG file whose header says 20,000 x 20,000 pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def tiny() -> str:
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    return data_url(file.getvalue())


def tool(**parameters: Any) -> list[dict[str, Any]]:
    function = {"name": "f", "strict": True, "parameters": {"type": "object", "properties": parameters}}
    return [{"type": "function", "function": function}]


FORCED = {"tool_choice": {"type": "function", "function": {"name": "f"}}}
ATTACKS: dict[str, tuple[dict[str, Any], set[int]]] = {
    "A1: the cloud's metadata": (image("http://169.254.169.254/latest/meta-data/"), {400}),
    "A1: a private address in IPv6": (image("http://[::ffff:10.0.0.1]/x.png"), {400}),
    "A1: an address as one number": (video("http://2130706433/x.mp4"), {400}),
    "A2: a backslash before the host": (image("http://example.com\\@127.0.0.1/x.png"), {400}),
    "A2: a user in the URL": (image("http://user@127.0.0.1/x.png"), {400}),
    "A8: 16,384 choices": (chat(n=16_384), {400}),
    "A8: a Best-of-a-billion": (chat(best_of=10**9), {400}),
    "A9: a video of 5,000 JPEG frames": (video("data:video/jpeg;base64," + ",".join(["QUJD"] * 5000)), {400}),
    "A10: a broken image": (image(data_url(encoded("PNG")[:60])), {400}),
    "A10: a JPEG 2000 image": (image(data_url(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(200))), {400}),
    "A11: an image of one pixel": (image(tiny()), {200}),
    "A12: a picture of 400 million pixels": (image(data_url(bomb())), {400}),
    "A12: a TIFF image": (image(data_url(encoded("TIFF"))), {400}),
    "A12: a FITS image": (image(data_url(b"SIMPLE  =                    T".ljust(2880))), {400}),
    "A13: a tool with a broken pattern": (
        chat(tools=tool(a={"type": "string", "pattern": "("}), **FORCED),
        {400},
    ),
    "A13: a broken regex": (chat(structured_outputs={"regex": "(["}), {400}),
    "A14: a template of the request": (chat(chat_template="{{ ''.__class__.__mro__ }}"), {400}),
    "A14: no tokens from the template": (chat(chat_template_kwargs={"tokenize": False}), {200, 400}),
    "A15: no messages": (chat(messages=[]), {400}),
    "A15: an empty text": (chat(messages=[{"role": "user", "content": ""}]), {200, 400}),
    "A19: a file of the server": (image("file:///etc/passwd"), {400}),
    "A19: a path of the server": (video("/etc/passwd"), {400}),
    "A20: embeddings of a prompt": (chat(prompt_embeds="AAAA"), {200, 400}),
    "A20: embeddings of an image": (about({"type": "image_embeds", "image_embeds": "AAAA"}), {400}),
    "A21: a billion tiles": (image(tiny(), mm_processor_kwargs={"max_dynamic_patch": 10**9}), {200, 400}),
    "A21: the processor's other options": (image(tiny(), mm_processor_kwargs={"size": 10**9}), {400}),
    "A22: a salt that is no text": (chat(cache_salt=["x"]), {400}),
    "A25: 100,000 parts": (
        chat(messages=[{"role": "user", "content": [{"type": "text", "text": ""}] * 10**5}]),
        {400, 413},
    ),
    "A26: a file id that is a path": (about({"type": "file", "file": {"file_id": "../../keys.toml"}}), {400}),
}


@pytest.fixture
async def known(keyed_server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120, headers=bearer("first")) as client:
        yield client


@pytest.fixture
async def stranger(keyed_server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with httpx.AsyncClient(base_url=keyed_server.url, timeout=120) as client:
        yield client


async def check_ordinary(client: httpx.AsyncClient) -> None:
    """An ordinary request right after an attack is answered."""
    assert (await client.post(CHAT, json=chat())).status_code == 200


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_in_a_body(keyed_server: RunningServer, known: httpx.AsyncClient, name: str):
    body, statuses = ATTACKS[name]
    before = memory_mib(keyed_server)
    reply = await known.post(CHAT, json=body)
    grown = memory_mib(keyed_server) - before
    print(f"\n{name}: status {reply.status_code}, memory +{grown:.0f} MiB, {reply.text[:150]}")
    assert reply.status_code in statuses, reply.text[:300]
    if reply.status_code != 200:
        error = reply.json()["error"]
        assert error["message"] and error["code"]
        assert not any(leak in error["message"] for leak in LEAKS)
        assert "'triggers'" not in error["message"], "the name of a field that the client didn't send"
    assert grown < 500
    await check_ordinary(known)


def raw_status(server: RunningServer, head: bytes) -> int:
    """Return the status of the reply to a request whose head is sent as it stands; 0 if there is none."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head)
        line = connection.makefile("rb").readline()
    return int(line.split()[1]) if line else 0


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/v1/models", "127.0.0.1/livez?"),
        ("/v1/models", "x/livez#"),
        ("/livez/../v1/models", "127.0.0.1"),
        ("/livez%2f..%2fv1/models", "127.0.0.1"),
        ("//v1/models", "127.0.0.1"),
        ("/v1/models?/livez", "127.0.0.1"),
        ("http://127.0.0.1/livez/v1/models", "127.0.0.1"),
    ],
)
async def test_a5_no_spelling_of_a_path_needs_no_key(
    keyed_server: RunningServer, known: httpx.AsyncClient, target: str, host: str
):
    status = raw_status(keyed_server, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert status in (400, 401, 421), status
    await check_ordinary(known)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", path)
        for path in ("/metrics", "/v1/models", "/version", "/load", "/server_info", "/docs", "/v1/files")
    ]
    + [
        ("POST", path)
        for path in (
            *(
                "/tokenize",
                "/detokenize",
                "/v1/chat/completions/render",
                "/v1/completions",
                "/v1/critic/score",
            ),
            *("/invocations", "/pooling", "/score", "/scale_elastic_ep", "/v1/files", "/v1/batches"),
            *("/v1/load_lora_adapter", "/collective_rpc", "/sleep", "/start_profile", "/reset_prefix_cache"),
        )
    ],
)
async def test_a6_every_path_needs_a_key(stranger: httpx.AsyncClient, method: str, path: str):
    reply = await stranger.request(method, path, json={} if method == "POST" else None)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a16_a_flood_of_headers(keyed_server: RunningServer, known: httpx.AsyncClient):
    lines = b"".join(b"x-%d: y\r\n" % number for number in range(20_000))
    status = raw_status(keyed_server, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + lines + b"\r\n")
    assert status in (0, 400, 431), status
    await check_ordinary(known)


@pytest.mark.parametrize("path", ["/collective_rpc", "/start_profile", "/sleep", "/reset_prefix_cache"])
async def test_a24_there_is_no_development_mode(known: httpx.AsyncClient, path: str):
    assert (await known.post(path, json={})).status_code == 404


async def test_a25_bodies_that_are_too_large_or_compressed(known: httpx.AsyncClient):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 2**20

    large = await known.post(CHAT, content=endless(), headers={"content-type": "application/json"})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    zipped = await known.post(CHAT, content=zlib.compress(bytes(2**20)), headers=packed)
    assert (zipped.status_code, zipped.json()["error"]["code"]) == (415, "unsupported_content_encoding")
    await check_ordinary(known)


async def test_a26_files_belong_to_their_key(known: httpx.AsyncClient):
    upload = {"file": ("../../../etc/passwd", b"content", "text/plain")}
    stored = await known.post("/v1/files", files=upload, data={"purpose": "user_data"})
    assert stored.status_code == 200, stored.text
    file = stored.json()
    assert len(file["id"]) >= 24, "128 random bits don't fit into fewer characters"
    for key, status in (("first", 200), ("second", 404)):
        for path in (f"/v1/files/{file['id']}", f"/v1/files/{file['id']}/content"):
            assert (await known.get(path, headers=bearer(key))).status_code == status
    body = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    other = await known.post("/v1/batches", json=body, headers=bearer("second"))
    assert other.status_code in (400, 404)
    assert (await known.delete(f"/v1/files/{file['id']}", headers=bearer("second"))).status_code == 404
    assert (await known.delete(f"/v1/files/{file['id']}")).status_code == 200
    await check_ordinary(known)
