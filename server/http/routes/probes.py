"""The routes that tell whether the server lives and is ready, and its version."""

from importlib.metadata import version

from fastapi import APIRouter, Request, Response

from server.errors import not_ready, shutting_down, stalled, stopped
from server.http.error_replies import error_reply
from server.http.request import service_of
from server.services.context import ServerContext

router = APIRouter()


@router.get("/livez")
async def livez(request: Request) -> dict[str, str]:
    """Answer 200 from the first second on, also while the models load.

    Raises ApiError (503) when the policy's process has died or hangs, because only a restart helps then. On a
    server without a policy this is the critic's process.
    """
    _check_engine(service_of(request).context)
    return {"status": "ok"}


@router.get("/readyz", response_model=None)
@router.get("/health", response_model=None)
async def readyz(request: Request) -> Response | dict[str, str]:
    """Answer 200 if requests get answers, and raise ApiError (503) if not, or not for long any more.

    When the critic alone has died, hangs, or its server can't be reached, the status is "degraded": chat
    requests are then answered as their `on_critic_error` says. While the engines start, the body's field
    `progress` has the phase of each.
    """
    if request.app.state.running.is_leaving:
        raise shutting_down()
    service = service_of(request)
    context = service.context
    if context.engines is None:
        progress = context.start_phases()
        return error_reply(not_ready(progress), request.scope, progress=progress)
    _check_engine(context)
    critic = service.ready_engines().critic
    if critic is not None and not critic.alive:
        return {"status": "degraded", "critic": "unreachable" if critic.comes_back else "stopped"}
    watch = context.watches.get("critic")
    if watch is not None and watch.is_stalled:
        return {"status": "degraded", "critic": "stalled"}
    return {"status": "ok"}


@router.get("/version")
async def server_version() -> dict[str, str]:
    """Return the version of the installed package."""
    return {"version": version("internvl3-serving")}


def _check_engine(context: ServerContext) -> None:
    """Raise ApiError if the process of the policy or, without one, of the critic has died or hangs."""
    if context.engines is None:
        return
    engine = context.engines.policy or context.engines.critic
    if engine is not None and not engine.alive:
        raise stopped()
    watch = context.watches.get("critic" if context.engines.policy is None else "policy")
    if watch is not None and watch.is_stalled:
        raise stalled(watch.seconds)
