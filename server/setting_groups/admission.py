"""The settings of the queue in which requests wait for their turn."""

from pydantic import Field

from .group import SettingsGroup


class AdmissionSettings(SettingsGroup):
    """How much runs at the same time, and how much waits."""

    title = "Admission"

    max_running_tokens: int = Field(
        default=262_144,
        ge=1,
        description="Tokens that running requests may take together, by an estimate before they run; further "
        "requests wait for their turn. The default is that of 256 answers of 1,024 tokens.",
    )
    max_queued: int = Field(
        default=256, ge=0, description="Most requests that wait for their turn; a further one gets a 429."
    )
    queue_seconds: float = Field(
        default=60.0, gt=0, description="Seconds that a request waits for its turn; then it gets a 503."
    )
