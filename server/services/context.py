"""What the routes share: one per app, made by `create_app`, no module-level state."""

from dataclasses import dataclass

from server.engine_interface import Engine
from server.media.loader import MediaLoader
from server.settings import Settings
from server.telemetry.metrics import Metrics


@dataclass(kw_only=True)
class ServerContext:
    """The parts of one running server."""

    settings: Settings
    media: MediaLoader
    metrics: Metrics
    started: int  # Unix seconds
    engine: Engine | None = None  # None while it loads
    failure: Exception | None = None  # why it could not load
