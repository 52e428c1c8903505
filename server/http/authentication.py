"""Middleware that lets only known API keys in, and keeps each key within its limits."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.access.keys import Keys
from server.access.principal import Principal
from server.errors import ApiError
from server.telemetry.request_record import current_record

from .error_replies import error_reply

OPEN_PATHS = frozenset(("/livez", "/readyz", "/health"))
COUNTED_METHODS = frozenset(("POST", "PUT"))  # the others take neither tokens nor much time
PRINCIPAL = "principal"


class Authentication:
    """Refuses requests without a valid API key before their body is read, on every path but the probes.

    It compares the path as it was sent, so no other spelling of a probe's path is open.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope):
            await self._app(scope, receive, send)
            return
        try:
            principal = self._keys.find(presented_key(Headers(scope=scope)))
        except ApiError as error:
            await error_reply(error, scope)(scope, receive, send)
            return
        scope.setdefault("state", {})[PRINCIPAL] = principal
        current_record().key = principal.name

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(principal.account.headers())
            await send(message)

        if scope["method"] not in COUNTED_METHODS:
            await self._app(scope, receive, send_with_limits)
            return
        try:
            principal.account.begin()
        except ApiError as error:
            await error_reply(error, scope)(scope, receive, send_with_limits)
            return
        try:
            await self._app(scope, receive, send_with_limits)
        finally:
            principal.account.end()


def presented_key(headers: Headers) -> str | None:
    """Return the key in `Authorization: Bearer KEY` or, as Anthropic's clients send it, in `x-api-key`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return headers.get("x-api-key")


def principal_of(request: Request) -> Principal:
    """Return who sends a request."""
    principal = request.scope["state"][PRINCIPAL]
    assert isinstance(principal, Principal), "Authentication stands around every route but the probes"
    return principal


def _is_open(scope: Scope) -> bool:
    raw: bytes | None = scope.get("raw_path")
    path = scope["path"]
    return path in OPEN_PATHS and (raw is None or raw.partition(b"?")[0] == path.encode())
