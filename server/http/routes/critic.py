"""TODO: what this file is about."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.http.request import _engine, _state, read_json, until_disconnect
from server.services.scoring import score

router = APIRouter()


@router.post("/v1/critic/score")
async def critic_score(request: Request) -> Response:
    """The critic's scores of answers that are given."""
    state = _state(request)
    engine = _engine(state)
    body = await read_json(request, state.settings)
    return JSONResponse(await until_disconnect(request, score(engine, body, state)))
