"""The settings that limit the images and videos of a request, and say where they may come from."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from server.host_names import PrivateHost, private_host

from .group import SettingsGroup, Texts, split_at_commas

MIB = 2**20
VideoBackend = Literal["pyav", "decord"]
Port = Annotated[int, Field(ge=1, le=65535)]
Ports = Annotated[tuple[Port, ...], NoDecode, BeforeValidator(split_at_commas)]


class MediaSettings(SettingsGroup):
    """Images, videos and their sources."""

    title = "Media"

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
    max_request_tiles: int = Field(
        default=4096,
        ge=1,
        description="Most tiles of all images and frames of one request. Each tile counts once, also where "
        "policy and critic both see it.",
    )
    max_request_frames: int = Field(
        default=2048, ge=1, description="Most frames of all videos of one request."
    )
    media_seconds: float = Field(
        default=180.0, gt=0, description="Seconds to fetch and decode all media of one request."
    )
    fetch_seconds: float = Field(
        default=10.0, gt=0, description="Seconds to fetch one image, with all redirects."
    )
    fetch_video_seconds: float = Field(
        default=60.0, gt=0, description="Seconds to fetch one video, with all redirects."
    )
    video_seconds: float = Field(
        default=60.0, gt=0, description="Seconds to decode one video, besides those for each frame."
    )
    video_frame_seconds: float = Field(
        default=0.5,
        ge=0,
        description="Seconds for each frame that may be taken from a video. They are added to "
        "`--video-seconds` and `--media-seconds`.",
    )
    video_memory_mib: int = Field(default=2048, ge=128, description="Memory in MiB to decode one video.")
    video_cache_mib: int = Field(
        default=1024,
        ge=0,
        description="Memory (MiB) of the tiles of videos that are kept for further questions; 0 keeps none.",
    )
    video_backend: VideoBackend = Field(default="pyav", description="Library that decodes videos.")
    decode_threads: int = Field(
        default=2, ge=1, description="Number of images that are decoded at the same time."
    )
    decode_processes: int = Field(
        default=2, ge=1, description="Number of videos that are decoded at the same time."
    )
    private_media_hosts: Texts = Field(
        default=(),
        description="Hosts and networks that media may be fetched from although they aren't public, "
        "separated by commas; `host:port` allows one port alone.",
    )
    media_ports: Ports = Field(
        default=(80, 443),
        description="Ports of public hosts that media may be fetched from, separated by commas.",
    )

    @field_validator("private_media_hosts")
    @classmethod
    def _private_hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(entry.lower() for entry in entries if private_host(entry))

    @property
    def private_hosts(self) -> tuple[PrivateHost, ...]:
        """The entries of `private_media_hosts`, read."""
        return tuple(private_host(entry) for entry in self.private_media_hosts)
