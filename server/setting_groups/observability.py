"""The settings of logs, metrics and traces."""

from typing import Literal

from pydantic import Field

from .group import SettingsGroup

LogLevel = Literal["debug", "info", "warning", "error"]


class ObservabilitySettings(SettingsGroup):
    """What the server tells its operator."""

    title = "Observability"

    log_level: LogLevel = Field(
        default="error",
        description="Least severe log lines of the engines to show; the server's own lines are always shown.",
    )
