"""Read what every route that does work for a key needs of a request."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from server.access.principal import Principal
from server.engine_interface import Engine
from server.media.budget import Budget
from server.services.context import ServerContext

from .authentication import principal_of
from .held_bytes import held_bytes
from .request import context_of, read_json, ready_engine


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that was read: its body, who sends it, what it may use, and what answers it."""

    context: ServerContext
    engine: Engine
    principal: Principal
    body: dict[str, Any]
    budget: Budget


async def read_call(request: Request) -> Call:
    """Return the parts of a request. Raises ApiError if the engine isn't ready or the body can't be read."""
    context = context_of(request)
    engine = ready_engine(context)
    body = await read_json(request, context.settings)
    principal = principal_of(request)
    budget = Budget(principal.settings, held_bytes(request.scope))
    return Call(context=context, engine=engine, principal=principal, body=body, budget=budget)
