"""The parts of a server that its routes and services share, and a check of its engines' tiles."""

from dataclasses import dataclass

from server.engine_interface import Engine
from server.errors import ApiError
from server.media.loader import MediaLoader
from server.request_media import Videos
from server.settings import Settings
from server.telemetry.metrics import Metrics


@dataclass(kw_only=True)
class ServerContext:
    """The parts of one running server. `create_app` builds one for each app; there is no global state."""

    settings: Settings
    media: MediaLoader
    metrics: Metrics
    started: int  # when the app was created, in Unix seconds
    engine: Engine | None = None  # None until the models are loaded
    failure: Exception | None = None  # the error that ended loading


def check_critic_tiles(engine: Engine, videos: Videos, *, remedy: str, param: str) -> None:
    """Raise ApiError if there are videos and the critic can't take the policy's tiles.

    `remedy` is the sentence that tells the client what to send instead, and `param` the field to change.
    """
    if videos and not engine.critic_shares_tiles:
        raise ApiError(
            f"The critic of this server cuts videos into tiles of another size than the policy. {remedy}",
            param=param,
        )
