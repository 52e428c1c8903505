"""Fetching one http(s) URL that a stranger chose, without letting it reach anything that is not public.

Attacks on servers of this kind and what answers them here: the URL is parsed by one parser, httpx's, for
the check and for the fetch; its host is resolved once, every address must be public, and the checked
address itself is dialled (Host header and TLS name keep the host), so a second DNS answer is never used;
redirects are followed by hand, at most three, each checked like the first; proxies and .netrc of the
environment are not used; the body is read as sent, in pieces, up to a cap; one deadline spans everything.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext

import httpx

from .errors import ApiError
from .settings import Settings

MAX_REDIRECTS = 3
NAT64 = IPv6Network("64:ff9b::/96")  # reaches IPv4 addresses, private ones too
Address = IPv4Address | IPv6Address


async def fetch(url: str, settings: Settings, *, tls: SSLContext, param: str) -> bytes:
    """The body at `url`, at most `settings.max_image_bytes` long; raises ApiError (400) naming `param`."""
    try:
        # A client each: a shared one would carry cookies and connections from one user's fetch to another's.
        async with (
            asyncio.timeout(settings.fetch_seconds),
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None, verify=tls) as client,
        ):
            return await _follow(client, url, settings, param)
    except TimeoutError:
        raise ApiError(
            f"The image could not be fetched within {settings.fetch_seconds:g} seconds. "
            "Check its URL, or send it inline as a data: URL.",
            param=param,
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError):
        raise ApiError(
            "The image could not be fetched. Check its URL, or send it inline as a data: URL.", param=param
        ) from None


async def _follow(client: httpx.AsyncClient, url: str, settings: Settings, param: str) -> bytes:
    for _ in range(1 + MAX_REDIRECTS):
        parsed = _checked_url(url, param)
        address = await _public_address(parsed, settings, param)
        request = client.build_request(
            "GET",
            parsed.copy_with(host=str(address)),
            headers={
                "Host": parsed.netloc.decode("ascii"),
                "Accept": "image/*",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": parsed.host},
        )
        response = await client.send(request, stream=True)
        try:
            if not response.has_redirect_location:
                return await _read(response, settings.max_image_bytes, param)
            url = str(parsed.join(response.headers["location"]))
        finally:
            await response.aclose()
    raise ApiError(
        f"The image's URL redirects more than {MAX_REDIRECTS} times. Use the final one.", param=param
    )


def _checked_url(url: str, param: str) -> httpx.URL:
    """The parsed URL; refuses whatever two parsers could read differently."""
    plain = url.isascii() and url.isprintable() and not any(mark in url for mark in ' \\"<>^`{|}')
    try:
        parsed = httpx.URL(url) if plain else None
    except httpx.InvalidURL:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ApiError(
            "An image's url must be a data: URL or a plain http(s) URL without user name or password.",
            param=param,
        )
    return parsed


async def _public_address(url: httpx.URL, settings: Settings, param: str) -> Address:
    """The address to dial. Every address of the host must be public, or allowed by the operator."""
    loop = asyncio.get_running_loop()
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = await loop.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    addresses = [ip_address(entry[4][0]) for entry in found if "%" not in str(entry[4][0])]
    allowed = url.host in settings.private_media_hosts
    if not addresses or not all(allowed or _may_dial(address, settings) for address in addresses):
        # One message for "unknown" and "private": it must not tell a stranger which names exist inside.
        raise ApiError(
            f"The host {url.host[:100]} has no public address. "
            "Use a public URL, or send the image inline as a data: URL.",
            param=param,
        )
    return addresses[0]


def _may_dial(address: Address, settings: Settings) -> bool:
    return is_public(address) or any(address in network for network in settings.private_networks)


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet, and no disguise of an IPv4 address that isn't."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is not None:
            return is_public(inner)
        if address.sixtofour is not None or address.teredo is not None or address in NAT64:
            return False
    return address.is_global and not address.is_multicast


async def _read(response: httpx.Response, limit: int, param: str) -> bytes:
    if response.status_code != 200:
        raise ApiError(
            f"The image's host answered with status {response.status_code}. Check the URL or send it inline.",
            param=param,
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ApiError("The image's host sent it compressed as a transfer; send it inline.", param=param)
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > limit:
            raise ApiError(f"The image is larger than {limit} bytes. Send a smaller one.", param=param)
    return bytes(body)
