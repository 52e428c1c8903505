"""The settings of logs, metrics and traces."""

from typing import Literal

from pydantic import Field

from .group import SettingsGroup

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class ObservabilitySettings(SettingsGroup):
    """What the server tells its operator."""

    title = "Observability"

    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port with nothing but `/metrics`, which then needs no key and is no longer on `--port`; "
        "0 takes a free one.",
    )
    log_level: LogLevel = Field(
        default="error",
        description="Least severe log lines of the engines to show; the server's own lines are always shown.",
    )
    log_format: LogFormat = Field(
        default="text", description="Whether a line of the log is a text or a JSON object."
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="URL of a receiver of OpenTelemetry's traces (OTLP over HTTP), such as "
        "`http://127.0.0.1:4318`. By default the one that OTEL_EXPORTER_OTLP_ENDPOINT names, or none.",
    )
