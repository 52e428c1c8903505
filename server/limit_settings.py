"""The settings that limit what one client's requests may take, and where their media may come from."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from .host_names import PrivateHost, private_host

VideoBackend = Literal["pyav", "decord"]
MIB = 2**20


def split_at_commas(value: Any) -> Any:
    """Return the parts of a text that holds several values; other values are returned as they are."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


class LimitSettings(BaseSettings):
    """The limits of requests and of their media."""

    max_best_of: int = Field(default=64, ge=1, description="Most candidates that one request may ask for.")
    max_answers: int = Field(
        default=256,
        ge=1,
        description="Most answers in one request to `/v1/critic/score`, and most completions in one to "
        "`/v1/completions`.",
    )
    max_answer_steps: int = Field(
        default=512,
        ge=1,
        description="Most steps of one answer that the critic scores; an answer with more gets no score.",
    )
    grammar_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Seconds that compiling a request's schema, regex or grammar may take.",
    )
    max_images: int = Field(default=32, ge=0, description="Most images in one request.")
    max_tiles: int | None = Field(
        default=None,
        ge=1,
        description="Most tiles of one image; requests for more get this many. "
        "By default the checkpoint's number.",
    )
    max_total_tiles: int | None = Field(
        default=None,
        ge=1,
        description="Most tiles of all images in one request, without thumbnails; by default no limit.",
    )
    max_pixels: int = Field(
        default=100_000_000, ge=1, le=170_000_000, description="Most pixels of all images in one request."
    )
    max_request_tiles: int = Field(
        default=4096,
        ge=1,
        description="Most tiles of all images and frames of one request. Each tile counts once, also where "
        "policy and critic both see it.",
    )
    max_request_frames: int = Field(
        default=2048, ge=1, description="Most frames of all videos of one request."
    )
    max_request_steps: int = Field(
        default=32_768, ge=1, description="Most steps of all answers in one request to `/v1/critic/score`."
    )
    max_request_characters: int = Field(
        default=64_000_000,
        ge=1,
        description="Most characters in one request to `/v1/critic/score`: those of its answers, "
        "and those of the question once for each answer.",
    )
    max_request_mib: int = Field(
        default=3072, ge=1, description="Memory (MiB) that the body and the media of one request may take."
    )
    media_seconds: float = Field(
        default=180.0, gt=0, description="Seconds to fetch and decode all media of one request."
    )
    max_image_bytes: int = Field(default=32 * MIB, ge=1, description="Most bytes of one encoded image.")
    max_videos: int = Field(default=4, ge=0, description="Most videos in one request.")
    max_frames: int = Field(
        default=512, ge=1, description="Most frames taken from one video; requests for more get this many."
    )
    max_video_bytes: int = Field(
        default=256 * MIB,
        ge=1,
        description="Most bytes of one video; inline, `--max-body-bytes` allows fewer.",
    )
    max_body_bytes: int = Field(default=64 * MIB, ge=1, description="Most bytes of a request's body.")
    in_flight_mib: int = Field(
        default=4096,
        ge=1,
        description="Memory (MiB) that the bodies and media of all running requests may take together; "
        "a request beyond it gets a 503.",
    )
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
    fetch_seconds: float = Field(
        default=10.0, gt=0, description="Seconds to fetch one image, with all redirects."
    )
    fetch_video_seconds: float = Field(
        default=60.0, gt=0, description="Seconds to fetch one video, with all redirects."
    )
    video_seconds: float = Field(default=60.0, gt=0, description="Seconds to decode one video.")
    video_memory_mib: int = Field(default=2048, ge=128, description="Memory in MiB to decode one video.")
    video_backend: VideoBackend = Field(default="pyav", description="Library that decodes videos.")
    decode_threads: int = Field(
        default=2, ge=1, description="Number of images that are decoded at the same time."
    )
    decode_processes: int = Field(
        default=2, ge=1, description="Number of videos that are decoded at the same time."
    )
    private_media_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts and networks that media may be fetched from although they aren't public, "
        "separated by commas; `host:port` allows one port alone.",
    )
    media_ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], NoDecode] = Field(
        default=(80, 443),
        description="Ports of public hosts that media may be fetched from, separated by commas.",
    )

    @field_validator("private_media_hosts", "media_ports", mode="before")
    @classmethod
    def _media_lists(cls, value: Any) -> Any:
        return split_at_commas(value)

    @field_validator("private_media_hosts")
    @classmethod
    def _private_hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(entry.lower() for entry in entries if private_host(entry))

    @property
    def private_hosts(self) -> tuple[PrivateHost, ...]:
        """The entries of `private_media_hosts`, read."""
        return tuple(private_host(entry) for entry in self.private_media_hosts)
