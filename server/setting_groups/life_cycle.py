"""The settings of a server's life cycle."""

from pydantic import Field

from .group import SettingsGroup


class LifeCycleSettings(SettingsGroup):
    """How the server notices that it hangs, and how it ends."""

    title = "Life cycle"

    stall_seconds: float = Field(
        default=300.0,
        gt=0,
        description="Seconds that requests may wait for an engine that makes no step and doesn't answer "
        "otherwise. If the policy hangs so, `/livez` says it.",
    )
    drain_delay: int = Field(
        default=0,
        ge=0,
        description="Seconds in which a server that was told to stop still answers new requests, while "
        "`/readyz` says that it is leaving, so that load balancers notice it.",
    )
    drain_seconds: int = Field(
        default=30,
        ge=0,
        description="Seconds after the delay that running requests have to end; new ones are refused.",
    )
