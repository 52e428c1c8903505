"""Middleware that gives each request its place in the queue, and lets the next ones in when it has ended."""

from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.admission import Admission, Priority, Ticket

TICKET = "ticket"


class GiveTickets:
    """Gives each request a ticket. The request waits for its turn only where it asks for work."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._admission.request(Priority.INTERACTIVE) as ticket:
            scope.setdefault("state", {})[TICKET] = ticket
            await self._app(scope, receive, send)


def ticket_of(scope: Scope) -> Ticket:
    """Return the ticket of a request."""
    ticket = scope["state"][TICKET]
    assert isinstance(ticket, Ticket), "GiveTickets stands around every route"
    return ticket
