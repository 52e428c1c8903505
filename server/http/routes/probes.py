"""TODO: what this file is about."""

from importlib.metadata import version

from fastapi import APIRouter, Request

from server.errors import stopped
from server.http.request import context_of, ready_engine

router = APIRouter()


@router.get("/livez")
async def livez(request: Request) -> dict[str, str]:
    """The process answers, from the first second, while models still load. No more once the policy's process
    has died: only a restart helps then.
    """
    engine = context_of(request).engine
    if engine is not None and not engine.alive:
        raise stopped()
    return {"status": "ok"}


@router.get("/readyz")
@router.get("/health")
async def readyz(request: Request) -> dict[str, str]:
    """Requests will be answered. Without its critic the server still does, as `on_critic_error` says."""
    engine = ready_engine(context_of(request))
    return {"status": "ok"} if engine.critic_alive else {"status": "degraded", "critic": "stopped"}


@router.get("/version")
async def server_version() -> dict[str, str]:
    return {"version": version("internvl3-serving")}
