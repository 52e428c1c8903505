"""Where requests go, with which key and headers, within which time limits."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from clients.sdk.errors import InvalidRequest

from .failures import EXAMPLE_URL, not_an_address, without_password
from .timeouts import Timeouts, before_reply, timeouts_of

DEFAULT_URL = EXAMPLE_URL
MAX_RETRIES = 2
KEY_VARIABLE = "INTERNVL3_API_KEY"
# A server closes a connection that is idle for five seconds. One that is closed while a request is under way
# would leave open whether the request arrived.
KEEP_ALIVE_SECONDS = 2.0
MOST_CONNECTIONS = 100  # further requests wait for one of them, however long
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
VALUE = re.compile(r"[ -~\t]*")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A server's address without /v1, and how it is spoken to. `headers` go with every request."""

    url: str
    headers: Mapping[str, str]
    timeouts: Timeouts
    max_retries: int

    @property
    def shown_url(self) -> str:
        """The address without a password, for messages."""
        return without_password(self.url)

    def client_arguments(self) -> dict[str, Any]:
        """Return the arguments of httpx's clients."""
        return {
            "base_url": self.url,
            "headers": self.headers,
            "timeout": before_reply(self.timeouts),
            "limits": httpx.Limits(max_connections=MOST_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS),
        }


def connection_to(
    base_url: str,
    *,
    api_key: str | None,
    headers: Mapping[str, str] | None,
    timeout: float | Timeouts,
    max_retries: int,
) -> Connection:
    """Return a connection to a server, whose address may end in /v1.

    `api_key` and `headers` are those of `request_headers`. Raises InvalidRequest for text that is no address
    or no header.
    """
    url = server_root(base_url)
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise not_an_address(url) from error
    return Connection(
        url=url,
        headers=request_headers(api_key, headers),
        timeouts=timeouts_of(timeout),
        max_retries=max_retries,
    )


def request_headers(api_key: str | None, headers: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Return the headers of all requests: the key, and further ones, which win over it.

    Without `api_key`, the environment variable INTERNVL3_API_KEY holds it, if it is set. Raises
    InvalidRequest for what is no header.
    """
    key = (os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key).strip()
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    joined = httpx.Headers(checked_headers(authorization))
    joined.update(checked_headers(headers or {}))
    return joined


def server_root(base_url: str) -> str:
    """Return the server's address without /v1 at its end."""
    return base_url.rstrip("/").removesuffix("/v1")


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers. Raises InvalidRequest if HTTP doesn't allow a name or a value; it quotes no value."""
    for name, value in headers.items():
        if not NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} is no name of a header; write letters, digits and hyphens")
        if not VALUE.fullmatch(value):
            raise InvalidRequest(
                f"the value of the header {name} holds a character that headers can't hold; use ASCII"
            )
    return headers
