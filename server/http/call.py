"""Read what every route that does work for a key needs of a request."""

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


async def read_call(request: Request) -> Call:
    """Return the parts of a request. Raises ApiError if the engine isn't ready or the body can't be read."""
    service = service_of(request)
    service.ready_engine()
    body = await read_json(request, service.context.settings)
    principal = principal_of(request)
    budget = Budget(principal.settings, held_bytes(request.scope), ticket_of(request.scope))
    return Call(service=service, principal=principal, body=body, budget=budget)
