"""The settings for a critic that another server runs, and for a server that is the critic of others."""

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings


class RemoteCriticSettings(BaseSettings):
    """Where the critic is, and what a critic's server keeps for others."""

    critic_url: str | None = Field(
        default=None,
        description="URL of another internvl3 server whose critic scores candidates, such as "
        "http://host:8000, in place of --critic.",
    )
    critic_key: SecretStr | None = Field(
        default=None,
        description="API key for the server of --critic-url. Other users of the machine see it in the "
        "command line, but not in the variable.",
    )
    critic_media_mib: int = Field(
        default=1024,
        ge=1,
        description="Memory (MiB) in which a critic keeps images and videos that other servers have sent for "
        "their questions; those that were used longest ago are dropped.",
    )

    @field_validator("critic_url")
    @classmethod
    def _server(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
            raise ValueError("critic_url must be the http(s) URL of a server, such as http://host:8000")
        if url.username is not None or url.password is not None:
            raise ValueError("critic_url must hold no user and password; set critic_key")
        return value.rstrip("/").removesuffix("/v1")
