"""The routes that tell whether the server lives and is ready, and its version."""

from importlib.metadata import version

from fastapi import APIRouter, Request

from server.errors import shutting_down, stopped
from server.http.request import service_of

router = APIRouter()


@router.get("/livez")
async def livez(request: Request) -> dict[str, str]:
    """Answer 200 from the first second on, also while the models load.

    Raises ApiError (503) when the policy's process has died, because only a restart helps then. On a server
    without a policy this is the critic's process.
    """
    engines = service_of(request).context.engines
    engine = None if engines is None else engines.policy or engines.critic
    if engine is not None and not engine.alive:
        raise stopped()
    return {"status": "ok"}


@router.get("/readyz")
@router.get("/health")
async def readyz(request: Request) -> dict[str, str]:
    """Answer 200 if requests get answers, and raise ApiError (503) if not, or not for long any more.

    When the critic alone has died or its server can't be reached, the status is "degraded": chat requests are
    then answered as their `on_critic_error` says.
    """
    if request.app.state.running.is_leaving:
        raise shutting_down()
    critic = service_of(request).ready_engines().critic
    if critic is None or critic.alive:
        return {"status": "ok"}
    return {"status": "degraded", "critic": "unreachable" if critic.comes_back else "stopped"}


@router.get("/version")
async def server_version() -> dict[str, str]:
    """Return the version of the installed package."""
    return {"version": version("internvl3-serving")}
