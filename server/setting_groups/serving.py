"""The settings of the listener: its address, and who may call it from where."""

from pydantic import Field, field_validator

from server.host_names import checked_host

from .group import SettingsGroup, Texts


class ServingSettings(SettingsGroup):
    """Where the server listens."""

    title = "Serving"

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_hosts: Texts = Field(
        default=(),
        description="Host names that clients may use, separated by commas, or `*` for all. "
        "By default all, and on a loopback address only the names of the loopback.",
    )
    allowed_origins: Texts = Field(
        default=(),
        description="Origins whose pages may call the server from a browser, separated by commas, "
        "or `*` for all.",
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_host(entry) for entry in entries)
