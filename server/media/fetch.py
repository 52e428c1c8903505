"""Fetch one http(s) URL that a stranger chose, and connect to no address that isn't public.

These rules protect the server against known attacks on servers that fetch URLs:
- One parser, httpx's, reads the URL for both the check and the fetch.
- The host is resolved once, and all its addresses must be public. The connection goes to the checked address
  itself, while the Host header and the TLS name keep the host. So a second, different DNS answer has no
  effect.
- At most three redirects are followed, and each target is checked like the first URL.
- Host names are looked up in threads of their own, so a slow name server delays nothing but other lookups.
- Proxies and .netrc of the environment are not used.
- The body is read in pieces up to a cap and is never decompressed.
- One deadline covers everything.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext
from typing import Self

import httpx

from server.errors import ApiError
from server.settings import Settings

MAX_REDIRECTS = 3
LOOKUP_THREADS = 16
# These addresses lead to IPv4 addresses, private ones among them, or to hosts of the same site: NAT64 of both
# prefixes, addresses that hold an IPv4 address ("compatible", SIIT), and the old site-local ones.
DISGUISES = [
    IPv6Network(network)
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96", "fec0::/10")
]
CLOUD_INSIDE = IPv4Address("168.63.129.16")  # Azure's wire server: public by its number, not by its use
Address = IPv4Address | IPv6Address
Sink = Callable[[bytes], object]  # receives a body piece by piece


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """The medium that a URL must hold, its limits of bytes and seconds, and its field in the request."""

    kind: str  # "image" or "video"
    max_bytes: int
    seconds: float
    param: str  # the field of the request, for error messages

    def too_large(self) -> ApiError:
        """Return the error for a medium that exceeds `max_bytes`."""
        message = f"The {self.kind} is larger than {self.max_bytes} bytes. Send a smaller one."
        return ApiError(message, param=self.param, code=f"{self.kind}_too_large")


@dataclass(frozen=True, kw_only=True)
class FetchMeans:
    """What all fetches of a server share: the trusted certificates, and threads that look up host names.

    A name server may let a lookup wait for half a minute, and a thread can't be interrupted. So lookups have
    threads of their own, and slow ones delay nothing but other lookups.
    """

    tls: SSLContext
    lookups: Executor

    @classmethod
    def create(cls) -> Self:
        """Return new means; `close` ends their threads."""
        lookups = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="internvl3-lookup")
        return cls(tls=httpx.create_ssl_context(trust_env=False), lookups=lookups)

    def close(self) -> None:
        self.lookups.shutdown(wait=False, cancel_futures=True)


async def fetch(url: str, sink: Sink, limits: FetchLimits, settings: Settings, means: FetchMeans) -> None:
    """Fetch `url` and pass its body to `sink` piece by piece.

    Raises:
        ApiError: 400 with `limits.param`, if the URL is refused, can't be fetched, or exceeds the limits.
    """
    try:
        # Every fetch opens a new client, because a shared one would share cookies and connections between
        # users.
        async with (
            asyncio.timeout(limits.seconds),
            httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=None, verify=means.tls
            ) as client,
        ):
            await _follow(client, url, sink, limits, settings, means.lookups)
    except TimeoutError:
        raise ApiError(
            f"The {limits.kind} could not be fetched within {limits.seconds:g} seconds. "
            "Check its URL, or send it inline as a data: URL.",
            param=limits.param,
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError):
        raise ApiError(
            f"The {limits.kind} could not be fetched. Check its URL, or send it inline as a data: URL.",
            param=limits.param,
        ) from None


async def _follow(
    client: httpx.AsyncClient,
    url: str,
    sink: Sink,
    limits: FetchLimits,
    settings: Settings,
    lookups: Executor,
) -> None:
    for _ in range(1 + MAX_REDIRECTS):
        parsed = _checked_url(url, limits)
        address = await _public_address(parsed, limits, settings, lookups)
        request = client.build_request(
            "GET",
            parsed.copy_with(host=str(address)),
            headers={
                "Host": parsed.netloc.decode("ascii"),
                "Accept": f"{limits.kind}/*",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": parsed.host},
        )
        response = await client.send(request, stream=True)
        try:
            if not response.has_redirect_location:
                return await _read(response, sink, limits)
            url = str(parsed.join(response.headers["location"]))
        finally:
            await response.aclose()
    raise ApiError(
        f"The {limits.kind}'s URL redirects more than {MAX_REDIRECTS} times. Send the final URL.",
        param=limits.param,
    )


def _checked_url(url: str, limits: FetchLimits) -> httpx.URL:
    """Return the parsed URL. Raise ApiError for a URL that two parsers could read differently."""
    plain = url.isascii() and url.isprintable() and not any(mark in url for mark in ' \\"<>^`{|}')
    try:
        parsed = httpx.URL(url) if plain else None
    except httpx.InvalidURL:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ApiError(
            f"The {limits.kind}'s url must be a data: URL or a plain http(s) URL without user name or "
            "password.",
            param=limits.param,
        )
    return parsed


async def _public_address(
    url: httpx.URL, limits: FetchLimits, settings: Settings, lookups: Executor
) -> Address:
    """Return the address to connect to. Raise ApiError if any address of the host is not allowed."""
    port = url.port or (443 if url.scheme == "https" else 80)
    look_up = partial(socket.getaddrinfo, url.host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(lookups, look_up)
    except OSError:
        found = []
    addresses = [ip_address(entry[4][0]) for entry in found if "%" not in str(entry[4][0])]
    allowed = url.host in settings.private_media_hosts
    if not addresses or not all(allowed or _may_dial(address, settings) for address in addresses):
        # Unknown and private hosts get the same message, so that it doesn't tell which private hosts exist.
        raise ApiError(
            f"The host {url.host[:100]} has no public address. "
            f"Use a public URL, or send the {limits.kind} inline as a data: URL.",
            param=limits.param,
        )
    return addresses[0]


def _may_dial(address: Address, settings: Settings) -> bool:
    return is_public(address) or any(address in network for network in settings.private_networks)


def is_public(address: Address) -> bool:
    """Return whether an address is public. A private IPv4 address inside an IPv6 address is not public."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped
        if inner is not None:
            return is_public(inner)
        if address.sixtofour is not None or address.teredo is not None:
            return False
        if any(address in network for network in DISGUISES):
            return False
    return address.is_global and not address.is_multicast and address != CLOUD_INSIDE


async def _read(response: httpx.Response, sink: Sink, limits: FetchLimits) -> None:
    if response.status_code != 200:
        raise ApiError(
            f"The {limits.kind}'s host answered with status {response.status_code}. "
            f"Check the URL, or send the {limits.kind} inline as a data: URL.",
            param=limits.param,
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ApiError(
            f"The {limits.kind}'s host compressed the transfer. "
            f"Send the {limits.kind} inline as a data: URL.",
            param=limits.param,
        )
    left = limits.max_bytes
    async for piece in response.aiter_raw():
        left -= len(piece)
        if left < 0:
            raise limits.too_large()
        sink(piece)
