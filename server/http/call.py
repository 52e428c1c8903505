"""Read what every route that does work for a key needs of a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from server.access.principal import Principal
from server.media.budget import Budget
from server.services.service import Service

from .authentication import principal_of
from .held_bytes import held_bytes
from .request import read_json, service_of
from .tickets import ticket_of


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that was read: its body, who sends it, what it may use, and what answers it."""

    service: Service
    principal: Principal
    body: dict[str, Any]
    budget: Budget
    request_id: str

    @property
    def engine_body(self) -> dict[str, Any]:
        """The body with the id of the request, which the engine writes into replies and chunks.

        A client's own `request_id`, of any length, would stand in every chunk. X-Request-Id chooses one
        within limits.
        """
        return {**self.body, "request_id": self.request_id}


async def read_call(
    request: Request, check_ready: Callable[[Service], object] = Service.ready_engine
) -> Call:
    """Return the parts of a request.

    Raises ApiError if the body can't be read, and before that if the engine isn't ready that the route needs.
    By default this is the policy; `check_ready` returns another one.
    """
    service = service_of(request)
    check_ready(service)
    body = await read_json(request, service.context.settings)
    return Call(
        service=service,
        principal=principal_of(request),
        body=body,
        budget=budget_of(request),
        request_id=request.scope["state"]["request_id"],
    )


def budget_of(request: Request) -> Budget:
    """Return a budget with all that a request may use."""
    settings = principal_of(request).settings
    return Budget(settings, held_bytes(request.scope), ticket_of(request.scope))
