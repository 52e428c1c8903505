"""The parts of a server that its routes and services share, and two checks of its critic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.engine_interface import Engine, EngineCritic
from server.errors import ApiError
from server.files.store import FileStore
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
    files: FileStore | None = None  # None without --files, and until the models are loaded
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


def check_critic_delta(critic: EngineCritic, vision: Mapping[str, Any]) -> None:
    """Raise ApiError if a longer answer could be seen by the critic with another delta.

    The score of a draft then bounds no score of the finished answer, so a winner could be abandoned.
    """
    if not critic.keeps_scores(vision):
        raise ApiError(
            "abandon_losers needs a critic that sees the images of all answers with one delta, but this one "
            "sees those of long answers with the request's delta, not its own. Leave abandon_losers out, "
            "or send the critic's own delta as v2pe_delta.",
            param="test_time_scaling.abandon_losers",
        )
