"""Refuse requests whose Host header names a host that is not allowed.

A page in somebody's browser can point its own name at 127.0.0.1 and then talk to a server there. It can't
change the Host header, which still holds the page's name.
"""

from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import ApiError
from server.settings import Settings

from .error_replies import error_reply

LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))


class AllowedHosts:
    """Refuses requests to a host name that is not allowed, with status 421."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = allowed_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._names is not None:
            name = host_name(Headers(scope=scope).get("host", ""))
            if name not in self._names:
                error = ApiError(
                    f"This server does not answer to the host {name[:100]!r}. Its operator can add it to "
                    "--allowed-hosts.",
                    status=421,
                    code="host_not_allowed",
                )
                await error_reply(error, scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def allowed_names(settings: Settings) -> frozenset[str] | None:
    """Return the host names that are answered, or None for all.

    Without --allowed-hosts a server that listens on a loopback address answers to the loopback's names only.
    """
    if "*" in settings.allowed_hosts:
        return None
    if settings.allowed_hosts:
        return frozenset(settings.allowed_hosts) | LOOPBACK_NAMES
    return LOOPBACK_NAMES | {settings.host} if _is_loopback(settings.host) else None


def host_name(header: str) -> str:
    """Return the name in a Host header, in lower case and without the port."""
    name, colon, port = header.strip().lower().rpartition(":")
    return name if colon and port.isdigit() else header.strip().lower()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
