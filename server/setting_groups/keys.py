"""The settings that say which API keys a server accepts."""

from pathlib import Path

from pydantic import Field, SecretStr

from .group import SettingsGroup


class KeySettings(SettingsGroup):
    """The API keys."""

    title = "Keys"

    api_keys: Path | None = Field(
        default=None,
        description="File that names the API keys and the limits of each; without keys anybody may use the "
        "server.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="One API key, without limits of its own. Other users of the machine see "
        "it in the command line, but not in the variable.",
    )
