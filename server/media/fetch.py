"""Fetch one http(s) URL that a stranger chose, and connect to no address that isn't allowed.

These rules protect the server against known attacks on servers that fetch URLs:
- One parser, httpx's, reads the URL for both the check and the fetch.
- The connection goes to an address that `addresses.py` has checked, while the Host header and the TLS name
  keep the host.
- At most three redirects are followed, and each target is checked like the first URL.
- Host names are looked up in threads of their own, so a slow name server delays nothing but other lookups.
- Proxies and .netrc of the environment are not used.
- The body is read in pieces up to a cap and is never decompressed.
- One deadline covers everything.
- A host that refuses a connection and one that doesn't answer get the same message.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from ssl import SSLContext
from typing import Self

import httpx

from server.settings import Settings
from server.telemetry.logs import error_line

from .addresses import Address, allowed_addresses
from .failures import MediaError

MAX_REDIRECTS = 3
MAX_ADDRESSES = 4  # of one host that are tried
LOOKUP_THREADS = 16
AGENT = f"internvl3-serving/{version('internvl3-serving')}"  # some hosts refuse requests without a name
Sink = Callable[[bytes], object]  # receives a body piece by piece


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """The medium that a URL must hold, its limits of bytes and seconds, and its field in the request."""

    kind: str  # "image" or "video"
    max_bytes: int
    seconds: float
    param: str  # the field of the request, for error messages

    def too_large(self) -> MediaError:
        """Return the error for a medium that exceeds `max_bytes`."""
        message = f"The {self.kind} is larger than {self.max_bytes} bytes. Send a smaller one."
        return MediaError(message, kind=self.kind, reason="too_large", param=self.param)


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
        MediaError: 400 with `limits.param`, if the URL is refused, can't be fetched, or exceeds the limits.
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
        raise _not_fetched(url, limits, "timeout", f"no end within {limits.seconds:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
        raise _not_fetched(url, limits, "network", error_line(error)) from None


def _not_fetched(url: str, limits: FetchLimits, reason: str, detail: str) -> MediaError:
    """Return the error for a host that is silent or refuses: only the log tells these apart."""
    return MediaError(
        f"The {limits.kind} could not be fetched: its host did not send it within {limits.seconds:g} "
        "seconds. Check its URL, or send it inline as a data: URL.",
        kind=limits.kind,
        reason=reason,
        param=limits.param,
        detail=f"{httpx.URL(url).host[:100]}: {detail}",
    )


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
        addresses = await allowed_addresses(parsed, limits.kind, limits.param, settings, lookups)
        response = await _send(client, parsed, addresses[:MAX_ADDRESSES], limits)
        try:
            if not response.has_redirect_location:
                return await _read(response, sink, limits)
            url = str(parsed.join(response.headers["location"]))
        finally:
            await response.aclose()
    raise MediaError(
        f"The {limits.kind}'s URL redirects more than {MAX_REDIRECTS} times. Send the final URL.",
        kind=limits.kind,
        reason="redirects",
        param=limits.param,
    )


async def _send(
    client: httpx.AsyncClient, url: httpx.URL, addresses: Sequence[Address], limits: FetchLimits
) -> httpx.Response:
    """Return the response of the first address that takes a connection, each having its share of the time."""
    timeout = httpx.Timeout(None, connect=limits.seconds / len(addresses))
    for address in addresses:
        request = client.build_request(
            "GET",
            url.copy_with(host=str(address)),
            headers={
                "Host": url.netloc.decode("ascii"),
                "User-Agent": AGENT,
                "Accept": f"{limits.kind}/*",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": url.host},
            timeout=timeout,
        )
        try:
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if address == addresses[-1]:
                raise
    raise AssertionError("a host has addresses")


def _checked_url(url: str, limits: FetchLimits) -> httpx.URL:
    """Return the parsed URL. Raise MediaError for a URL that two parsers could read differently."""
    plain = url.isascii() and url.isprintable() and not any(mark in url for mark in ' \\"<>^`{|}')
    try:
        parsed = httpx.URL(url) if plain else None
    except httpx.InvalidURL:
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise MediaError(
            f"The {limits.kind}'s url must be a data: URL or a plain http(s) URL without user name or "
            "password.",
            kind=limits.kind,
            reason="url",
            param=limits.param,
        )
    return parsed


async def _read(response: httpx.Response, sink: Sink, limits: FetchLimits) -> None:
    if response.status_code != 200:
        raise MediaError(
            f"The {limits.kind}'s host answered with status {response.status_code}. "
            f"Check the URL, or send the {limits.kind} inline as a data: URL.",
            kind=limits.kind,
            reason="status",
            param=limits.param,
        )
    if response.headers.get("content-encoding", "identity") != "identity":
        raise MediaError(
            f"The {limits.kind}'s host compressed the transfer. "
            f"Send the {limits.kind} inline as a data: URL.",
            kind=limits.kind,
            reason="compressed",
            param=limits.param,
        )
    left = limits.max_bytes
    async for piece in response.aiter_raw():
        left -= len(piece)
        if left < 0:
            raise limits.too_large()
        sink(piece)
