"""The route of the critic's scores for answers that the client brings."""

from fastapi import APIRouter, Request, Response

from server.http.call import read_call
from server.http.json_reply import json_reply
from server.http.request import until_disconnect

router = APIRouter()


@router.post("/v1/critic/score")
async def critic_score(request: Request) -> Response:
    """Score the answers in the body with the critic."""
    call = await read_call(request)
    work = call.service.score(call.principal, call.body, call.budget)
    return await json_reply(await until_disconnect(request, work))
