"""Middleware that keeps account of the bytes that each request holds, until the request ends."""

from starlette.types import ASGIApp, Receive, Scope, Send

from server.media.in_flight import BytesInFlight, HeldBytes

HELD = "held_bytes"


class HoldBytes:
    """Gives each request an account of its bytes, and frees them when its reply has ended."""

    def __init__(self, app: ASGIApp, in_flight: BytesInFlight) -> None:
        self._app = app
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._in_flight.request() as held:
            scope.setdefault("state", {})[HELD] = held
            await self._app(scope, receive, send)


def held_bytes(scope: Scope) -> HeldBytes:
    """Return the account of a request."""
    held = scope["state"][HELD]
    assert isinstance(held, HeldBytes), "HoldBytes stands around every route"
    return held
