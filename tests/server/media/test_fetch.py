"""Fetching URLs from a real host on the loopback, and refusing every address that isn't allowed."""

import asyncio
import contextlib
import io
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.errors import ApiError
from server.media.fetch import FetchLimits, FetchMeans, fetch
from tests.server.apps import settings

BODY = b"image bytes"
TLS = httpx.create_ssl_context(trust_env=False)
LOOKUPS = ThreadPoolExecutor(2)


@asynccontextmanager
async def host(answers: dict[str, bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the port of a host that answers each path with raw bytes, and the heads of the requests it gets.

    The host never answers a path that is not in `answers`.
    """
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head)
            answer = answers.get(head.split(b" ")[1].decode())
            if answer is None:
                await reader.read()  # until the client gives up
            else:
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], requests
    finally:
        server.close()


def ok(body: bytes = BODY, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def moved(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


async def get(url: str, *, private: str = "127.0.0.0/8", tls=TLS, max_bytes=4000, seconds=5.0) -> bytes:
    limits = FetchLimits(kind="image", max_bytes=max_bytes, seconds=seconds, param="here")
    sink = io.BytesIO()
    means = FetchMeans(tls=tls, lookups=LOOKUPS)
    await fetch(url, sink.write, limits, settings(private_media_hosts=private), means)
    return sink.getvalue()


async def refused(url: str, **chosen) -> str:
    with pytest.raises(ApiError) as caught:
        await get(url, **chosen)
    assert caught.value.status == 400 and caught.value.param == "here"
    return caught.value.message


async def test_a_public_image_arrives_and_the_host_is_asked_by_its_name():
    async with host({"/a.png": ok()}) as (port, requests):
        assert await get(f"http://localhost:{port}/a.png", private="localhost") == BODY
    head = requests[0].lower()
    assert f"host: localhost:{port}".encode() in head
    assert b"user-agent: internvl3-serving/" in head, "some hosts refuse requests of nameless programs"
    assert b"cookie" not in head and b"authorization" not in head


async def test_private_addresses_are_not_even_dialled():
    async with host({"/": ok()}) as (port, requests):
        for name in (
            "127.0.0.1",
            "localhost",
            "0x7f.1",
            "2130706433",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
        ):
            message = await refused(f"http://{name}:{port}/", private="")
            assert "no public address" in message and "data: URL" in message
    assert not requests


async def test_unknown_names_look_like_private_ones():
    assert "no public address" in await refused("http://does-not-exist.invalid/")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "etc/passwd",
        "ftp://example.com/a.png",
        "gopher://example.com/",
        "http://user:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://exam ple.com/",
        "http://example.com/\r\nHost: internal",
        "http://example.com/\x00",
        "http:///nothing",
        "http://",
        "//example.com/a.png",
        "http://[::1",
        "",
    ],
)
async def test_urls_that_are_not_plain(url):
    assert "data: URL or a plain http(s) URL" in await refused(url)


async def test_redirects_are_followed_and_counted():
    answers = {f"/{k}": moved(f"/{k + 1}") for k in range(4)} | {"/4": ok()}
    async with host(answers) as (port, requests):
        assert await get(f"http://127.0.0.1:{port}/1") == BODY
        assert len(requests) == 4
        assert "redirects more than 3 times" in await refused(f"http://127.0.0.1:{port}/0")


async def test_redirects_into_private_networks_are_refused():
    async with host({"/inside": ok()}) as (inside, inside_requests):
        targets = (
            f"http://127.0.0.2:{inside}/inside",
            "file:///etc/passwd",
            "http://u:p@example.com/",
            f"//127.0.0.2:{inside}/",
        )
        for target in targets:
            async with host({"/": moved(target)}) as (port, requests):
                await refused(f"http://127.0.0.1:{port}/", private="127.0.0.1/32")
                assert len(requests) == 1
    assert not inside_requests


@pytest.mark.parametrize("status", [404, 500, 206, 304])
async def test_other_statuses(status):
    async with host({"/": f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()}) as (port, _):
        assert str(status) in await refused(f"http://127.0.0.1:{port}/")


async def test_too_large_announced_or_not():
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5000)
    async with host({"/announced": ok(bytes(5000)), "/not": endless}) as (port, _):
        for path in ("announced", "not"):
            assert "1000 bytes" in await refused(f"http://127.0.0.1:{port}/{path}", max_bytes=1000)


async def test_compressed_transfers_are_refused():
    async with host({"/": ok(BODY, "Content-Encoding: gzip")}) as (port, _):
        assert "compressed" in await refused(f"http://127.0.0.1:{port}/")


async def test_hosts_that_never_answer():
    async with host({}) as (port, _):
        assert "within 0.2 seconds" in await refused(f"http://127.0.0.1:{port}/", seconds=0.2)


async def test_hosts_that_break_off_or_speak_nonsense():
    async with host({"/cut": ok()[:-3], "/nonsense": b"hello\r\n\r\n"}) as (port, _):
        for path in ("cut", "nonsense"):
            assert "could not be fetched" in await refused(f"http://127.0.0.1:{port}/{path}")


async def test_a_closed_port_looks_like_a_silent_one():
    async with host({}) as (port, _):
        silent = await refused(f"http://127.0.0.1:{port}/", seconds=0.3)
    closed = await refused(f"http://127.0.0.1:{port}/", seconds=0.3)
    assert closed == silent and "could not be fetched" in closed


async def test_the_next_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch):
    async with host({"/": ok()}) as (port, requests):
        entries = [(2, 1, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr("socket.getaddrinfo", lambda *host, **options: entries)
        assert await get(f"http://two-addresses.example:{port}/") == BODY
    assert len(requests) == 1


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    async with host({"/": ok(b"from the proxy")}) as (proxy, requests), host({"/": ok()}) as (port, _):
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        assert await get(f"http://127.0.0.1:{port}/") == BODY
    assert not requests


async def test_tls_verifies_the_name_not_the_pinned_address(tmp_path):
    certificate = tmp_path / "certificate.pem"
    key = tmp_path / "key.pem"
    _self_signed(certificate, key, "localhost")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    private = "127.0.0.0/8,localhost"
    async with server:
        assert await get(f"https://localhost:{port}/", private=private, tls=trusting) == BODY
        for tls, name in ((TLS, "localhost"), (trusting, "127.0.0.1")):  # unknown issuer; another name
            with pytest.raises(ApiError, match="could not be fetched"):
                await get(f"https://{name}:{port}/", private=private, tls=tls)


def _self_signed(certificate: Path, key: Path, name: str) -> None:
    """Write a self-signed certificate for `name` and its key as PEM files."""
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
