"""The routes of the critic: scores for answers that the client brings, and what other servers need of it."""

from typing import Any

from fastapi import APIRouter, Request, Response

from server.http.authentication import principal_of
from server.http.call import budget_of, read_call
from server.http.json_reply import json_reply
from server.http.request import media_type, read_bytes, service_of, until_disconnect
from server.media.transfer import TILES
from server.services.service import Service

router = APIRouter()


@router.post("/v1/critic/score")
async def critic_score(request: Request) -> Response:
    """Score the answers in the body with the critic."""
    call = await read_call(request, Service.ready_critic)
    work = call.service.score(call.principal, call.body, call.budget)
    return await json_reply(await until_disconnect(request, work))


@router.get("/v1/critic")
async def critic(request: Request) -> dict[str, Any]:
    """Describe the critic. Raises ApiError (503) while it can't score."""
    return service_of(request).describe_critic()


@router.put("/v1/critic/media/{name}", status_code=201)
async def critic_media(request: Request, name: str, cache_salt: str | None = None) -> dict[str, Any]:
    """Keep the image or the tiles in the body, so that questions to the critic can name it."""
    service, principal = service_of(request), principal_of(request)
    service.ready_critic()
    settings = principal.settings
    kind = media_type(request)
    limit = service.context.stored_media.limit if kind == TILES else settings.max_image_bytes
    data = await read_bytes(request, settings, limit=limit)
    work = service.keep_medium(
        principal,
        name,
        cache_salt=cache_salt,
        media_type=kind,
        data=data,
        budget=budget_of(request),
    )
    return await until_disconnect(request, work)
