"""The settings that limit what the connections and the requests of one client may take."""

from pydantic import Field

from .group import SettingsGroup

MIB = 2**20


class LimitSettings(SettingsGroup):
    """The limits of connections and of requests; those of media have a group of their own."""

    title = "Limits"

    max_body_bytes: int = Field(default=64 * MIB, ge=1, description="Most bytes of a request's body.")
    max_request_mib: int = Field(
        default=3072, ge=1, description="Memory (MiB) that the body and the media of one request may take."
    )
    in_flight_mib: int = Field(
        default=4096,
        ge=1,
        description="Memory (MiB) that the bodies and media of all running requests may take together; "
        "a request beyond it gets a 503.",
    )
    max_connections: int = Field(
        default=4096, ge=1, description="Most connections at the same time; further ones are closed at once."
    )
    head_seconds: float = Field(
        default=10.0, gt=0, description="Seconds that a client has to send the head of a request."
    )
    body_seconds: float = Field(default=60.0, gt=0, description="Seconds that a client has to send its body.")
    write_seconds: float = Field(
        default=60.0, gt=0, description="Seconds after which a client that reads nothing is disconnected."
    )
    grammar_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Seconds that compiling a request's schema, regex or grammar may take.",
    )
