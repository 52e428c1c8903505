"""The route of the critic's scores for answers that the client brings."""

from fastapi import APIRouter, Request, Response

from server.http.authentication import principal_of
from server.http.held_bytes import held_bytes
from server.http.json_reply import json_reply
from server.http.request import context_of, read_json, ready_engine, until_disconnect
from server.media.budget import Budget
from server.services.scoring import score

router = APIRouter()


@router.post("/v1/critic/score")
async def critic_score(request: Request) -> Response:
    """Score the answers in the body with the critic."""
    context = context_of(request)
    engine = ready_engine(context)
    body = await read_json(request, context.settings)
    principal = principal_of(request)
    budget = Budget(principal.settings, held_bytes(request.scope))
    scores = await until_disconnect(request, score(context, engine, principal, body, budget))
    return await json_reply(scores)
