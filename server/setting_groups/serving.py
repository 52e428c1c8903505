"""The settings of the listener: its address, its certificate, and who may call it from where."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

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

    tls_cert: Path | None = Field(
        default=None,
        description="PEM file with the server's certificate and those that signed it; with `--tls-key` the "
        "server speaks HTTPS.",
    )
    tls_key: Path | None = Field(
        default=None, description="PEM file with the private key of `--tls-cert`, without a password."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_host(entry) for entry in entries)

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key belong together: set both or none of them")
        return self
