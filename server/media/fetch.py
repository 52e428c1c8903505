"""Fetching one http(s) URL that a stranger chose, without letting it reach anything that is not public.

Attacks on servers of this kind and what answers them here: the URL is parsed by one parser, httpx's, for
the check and for the fetch; its host is resolved once, every address must be public, and the checked
address itself is dialled (Host header and TLS name keep the host), so a second DNS answer is never used;
redirects are followed by hand, at most three, each checked like the first; proxies and .netrc of the
environment are not used; the body is read as sent, in pieces, up to a cap; one deadline spans everything.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext

import httpx

from server.errors import ApiError
from server.settings import Settings

MAX_REDIRECTS = 3
NAT64 = IPv6Network("64:ff9b::/96")  # reaches IPv4 addresses, private ones too
Address = IPv4Address | IPv6Address
Sink = Callable[[bytes], object]  # takes a body piece by piece


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """What a URL is expected to hold, how much of it and of time it may take, and where the request names
    it.
    """

    kind: str  # "image" or "video"
    max_bytes: int
    seconds: float
    param: str

    def too_large(self) -> ApiError:
        """The refusal of a medium beyond its limit of bytes."""
        message = f"The {self.kind} is larger than {self.max_bytes} bytes. Send a smaller one."
        return ApiError(message, param=self.param, code=f"{self.kind}_too_large")


async def fetch(url: str, sink: Sink, wanted: FetchLimits, settings: Settings, *, tls: SSLContext) -> None:
    """Gives `sink` the body at `url` as it comes; raises ApiError (400) naming `wanted.param`."""
    try:
        # A client each: a shared one would carry cookies and connections from one user's fetch to another's.
        async with (
            asyncio.timeout(wanted.seconds),
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None, verify=tls) as client,
        ):
            await _follow(client, url, sink, wanted, settings)
    except TimeoutError:
        raise ApiError(
            f"The {wanted.kind} could not be fetched within {wanted.seconds:g} seconds. "
            "Check its URL, or send it inline as a data: URL.",
            param=wanted.param,
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError):
        raise ApiError(
            f"The {wanted.kind} could not be fetched. Check its URL, or send it inline as a data: URL.",
            param=wanted.param,
        ) from None


async def _follow(
    client: httpx.AsyncClient, url: str, sink: Sink, wanted: FetchLimits, settings: Settings
) -> None:
    for _ in range(1 + MAX_REDIRECTS):
        parsed = _checked_url(url, wanted)
        address = await _public_address(parsed, wanted, settings)
        request = client.build_request(
            "GET",
            parsed.copy_with(host=str(address)),
            headers={
                "Host": parsed.netloc.decode("ascii"),
                "Accept": f"{wanted.kind}/*",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": parsed.host},
        )
        response = await client.send(request, stream=True)
        try:
            if not response.has_redirect_location:
                return await _read(response, sink, wanted)
            url = str(parsed.join(response.headers["location"]))
        finally:
            await response.aclose()
    raise ApiError(
        f"The {wanted.kind}'s URL redirects more than {MAX_REDIRECTS} times. Use the final one.",
        param=wanted.param,
    )


def _checked_url(url: str, wanted: FetchLimits) -> httpx.URL:
    """The parsed URL; refuses whatever two parsers could read differently."""
    plain = url.isascii() and url.isprintable() and not any(mark in url for mark in ' \\"<>^`{|}')
    try:
        parsed = httpx.URL(url) if plain else None
    except httpx.InvalidURL:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ApiError(
            f"The {wanted.kind}'s url must be a data: URL or a plain http(s) URL without user name or "
            "password.",
            param=wanted.param,
        )
    return parsed


async def _public_address(url: httpx.URL, wanted: FetchLimits, settings: Settings) -> Address:
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
            f"Use a public URL, or send the {wanted.kind} inline as a data: URL.",
            param=wanted.param,
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


async def _read(response: httpx.Response, sink: Sink, wanted: FetchLimits) -> None:
    if response.status_code != 200:
        raise ApiError(
            f"The {wanted.kind}'s host answered with status {response.status_code}. "
            "Check the URL or send it inline.",
            param=wanted.param,
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ApiError(
            f"The {wanted.kind}'s host sent it compressed as a transfer; send it inline.", param=wanted.param
        )
    left = wanted.max_bytes
    async for piece in response.aiter_raw():
        left -= len(piece)
        if left < 0:
            raise wanted.too_large()
        sink(piece)
