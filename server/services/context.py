"""The parts of a server that its routes and services share, and checks of its engines."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from model.video.tiles import Video
from server.engine_interface import CriticEngine, Engines, PolicyEngine
from server.errors import ApiError, no_policy, not_ready, stopped
from server.files.store import FileStore
from server.media.loader import MediaLoader
from server.media.stored import MediaStore
from server.request_media import Media
from server.settings import Settings
from server.telemetry.metrics import Metrics

from .stall import StallWatch


@dataclass(kw_only=True)
class ServerContext:
    """The parts of one running server. `create_app` builds one for each app; there is no global state."""

    settings: Settings
    media: MediaLoader
    metrics: Metrics
    stored_media: MediaStore  # that other servers have sent for questions to the critic
    started: int  # when the app was created, in Unix seconds
    files: FileStore | None = None  # None without --files, and until the models are loaded
    engines: Engines | None = None  # None until the models are loaded
    failure: Exception | None = None  # the error that ended loading
    start_phases: Callable[[], Mapping[str, str]] = dict  # the phase of each engine's start, by its title
    watches: Mapping[str, StallWatch] = field(default_factory=dict)  # of the engines, by their titles


def loaded(engines: Engines | None) -> Engines:
    """Return the engines. Raises ApiError (503) if they are None because they are still loading."""
    if engines is None:
        raise not_ready()
    return engines


def adapter_names(context: ServerContext) -> Collection[str]:
    """Return the names of the policy's LoRA adapters; while it loads, those that it will have."""
    if context.engines is None:
        return context.settings.adapter_folders
    policy = context.engines.policy
    return () if policy is None else policy.adapters


def living_policy(engines: Engines) -> PolicyEngine:
    """Return the policy. Raises ApiError: 404 if the server has none, 503 if its process has died."""
    if engines.policy is None:
        raise no_policy()
    if not engines.policy.alive:
        raise stopped()
    return engines.policy


def living_critic(engines: Engines) -> CriticEngine:
    """Return the critic. Raises ApiError: 404 if there is none, 503 while it can score nothing."""
    if engines.critic is None:
        raise ApiError(
            "This server runs without a critic. Start it with --critic CHECKPOINT or --critic-url URL.",
            status=404,
            code="no_critic",
        )
    if not engines.critic.alive:
        if not engines.critic.comes_back:
            raise stopped()
        raise ApiError(
            "The server of the critic can't be reached. Retry in a few seconds.",
            status=503,
            code="critic_unreachable",
        )
    return engines.critic


def check_critic_tiles(
    critic: CriticEngine, tile_size: int, media: Media, *, remedy: str, param: str
) -> None:
    """Raise ApiError if there are videos and the critic can't take their tiles.

    `tile_size` is the side of these tiles, `remedy` the sentence that tells the client what to send instead,
    and `param` the field to change.
    """
    has_videos = any(isinstance(medium, Video) for medium in media.values())
    if has_videos and critic.tile_size not in (None, tile_size):
        raise ApiError(
            f"The critic of this server cuts videos into tiles of another size than the policy. {remedy}",
            param=param,
        )


def check_critic_delta(critic: CriticEngine, vision: Mapping[str, Any]) -> None:
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
