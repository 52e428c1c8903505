"""TODO: what this file is about."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.http.request import context_of, read_json, ready_engine, until_disconnect
from server.services.scoring import score

router = APIRouter()


@router.post("/v1/critic/score")
async def critic_score(request: Request) -> Response:
    """The critic's scores of answers that are given."""
    state = context_of(request)
    engine = ready_engine(state)
    body = await read_json(request, state.settings)
    return JSONResponse(await until_disconnect(request, score(engine, body, state)))
