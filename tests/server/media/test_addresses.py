"""Which addresses and ports media may be fetched from."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import httpx
import pytest

from server.errors import ApiError
from server.host_names import private_host
from server.media.addresses import allowed_addresses, is_public
from tests.server.apps import settings

LOOKUPS = ThreadPoolExecutor(2)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("ff0e::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::a00:1", False),
        ("::10.0.0.1", False),
        ("::ffff:0:10.0.0.1", False),
        ("fec0::1", False),
        ("168.63.129.16", False),
        ("2002:7f00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
    ],
)
def test_what_is_public(address, public):
    assert is_public(ip_address(address)) is public


async def refusal(url: str, **chosen: str) -> str | None:
    """Return why the URL is refused, or None."""
    try:
        await allowed_addresses(httpx.URL(url), "image", "here", settings(**chosen), LOOKUPS)
    except ApiError as error:
        assert (error.status, error.param) == (400, "here")
        return error.message
    return None


@pytest.mark.parametrize(
    ("port", "chosen", "allowed"),
    [
        (80, {}, True),
        (443, {}, True),
        (22, {}, False),
        (25, {}, False),
        (8080, {}, False),
        (8080, {"media_ports": "443, 8080"}, True),
        (80, {"media_ports": "443, 8080"}, False),
        (8080, {"private_media_hosts": "8.8.8.8:8080"}, True),
        (8081, {"private_media_hosts": "8.8.8.8:8080"}, False),
    ],
)
async def test_ports_of_public_hosts(port: int, chosen: dict[str, str], allowed: bool):
    """Else the server would knock at any port of any host for anybody."""
    message = await refusal(f"http://8.8.8.8:{port}/x.png", **chosen)
    assert (message is None) is allowed
    if message is not None:
        assert f"port {port}" in message and "data: URL" in message


@pytest.mark.parametrize(
    ("private", "allowed"),
    [
        ("", False),
        ("127.0.0.1", True),
        ("127.0.0.0/8", True),
        ("127.0.0.1:9000", True),
        ("127.0.0.0/8:9000", True),
        ("127.0.0.1:9001", False),
        ("10.0.0.0/8:9000", False),
        ("LOCALHOST:9000", False),
    ],
)
async def test_private_hosts_on_all_ports_or_one(private: str, allowed: bool):
    message = await refusal("http://127.0.0.1:9000/x.png", private_media_hosts=private)
    assert (message is None) is allowed
    if message is not None:
        assert "no public address" in message, "the message doesn't tell which private hosts exist"


async def test_a_private_host_by_its_name():
    assert await refusal("http://localhost:9000/x.png", private_media_hosts="LocalHost:9000") is None
    assert await refusal("http://localhost:9001/x.png", private_media_hosts="LocalHost:9000") is not None


@pytest.mark.parametrize(
    ("entry", "name", "port"),
    [
        ("::1", "::1", None),
        ("[::1]", "[::1]", None),
        ("[::1]:9000", "::1", 9000),
        ("a.example:1", "a.example", 1),
    ],
)
def test_how_entries_are_read(entry: str, name: str, port: int | None):
    host = private_host(entry)
    assert (host.name, host.port) == (name, port)
    if "::1" in entry:
        assert host.holds("::1", ip_address("::1"), 9000)


@pytest.mark.parametrize("entry", ["a.example:0", "a.example:70000", "a.example:x", "[::1]:"])
def test_entries_with_a_wrong_port_are_refused(entry: str):
    with pytest.raises(ValueError, match=r"port|is no host name"):
        settings(private_media_hosts=entry)
