"""What an operator may set. Flags of `internvl3 serve` win over INTERNVL3_* variables, those over the
defaults here.

Read once, in `__main__`; everything else receives a `Settings`.
"""

from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network
NONE = "none"
MIB = 2**20


class Settings(BaseSettings):
    """A field's name is its flag and, in capitals behind INTERNVL3_, its variable; its description helps."""

    model_config = SettingsConfigDict(env_prefix="INTERNVL3_", frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    policy: str = Field(
        default="nano", description="Checkpoint that answers: a folder, a hub name, or the embedded `nano`."
    )
    name: str | None = Field(
        default=None, description="Name clients ask for; else the last part of the policy's path."
    )
    critic: str | None = Field(
        default=None,
        description="Checkpoint that judges Best-of-N, or `none`; the embedded policy has its own.",
    )
    system_message: str | None = Field(
        default=None,
        description="What a conversation without a system message begins with, or `none`; "
        "else the checkpoint's own.",
    )
    critic_system_message: str | None = Field(
        default=None,
        description="What the critic's conversations begin with, or `none`; else the checkpoint's own.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Weights and activations."
    )
    max_model_len: int | None = Field(
        default=None, ge=64, description="Window in tokens; else as many as the checkpoint has positions."
    )
    kv_cache_gib: int = Field(
        default=1, ge=1, description="Memory of each engine's key-value cache, CPU only."
    )
    policy_args: str = Field(
        default="", description="Further flags of `vllm serve` for the policy, in one string."
    )
    critic_args: str = Field(default="", description="The same for the critic.")
    critic_seconds: float = Field(
        default=120.0, gt=0, description="Time the critic has to score one answer; then it counts as failed."
    )
    max_best_of: int = Field(default=64, ge=1, description="Most candidates one request may ask for.")
    max_answers: int = Field(
        default=256, ge=1, description="Most answers of one request to `/v1/critic/score`."
    )
    max_images: int = Field(default=32, ge=0, description="Most images of one request.")
    max_tiles: int | None = Field(
        default=None, ge=1, description="Most tiles of one image, asked for or not; else the checkpoint's."
    )
    max_total_tiles: int | None = Field(
        default=None,
        ge=1,
        description="Most tiles of all images of one request, thumbnails not counted; else no such limit.",
    )
    max_pixels: int = Field(
        default=100_000_000, ge=1, le=170_000_000, description="Most pixels of all images of one request."
    )
    max_image_bytes: int = Field(default=32 * MIB, ge=1, description="Most bytes of one encoded image.")
    max_videos: int = Field(default=4, ge=0, description="Most videos of one request.")
    max_frames: int = Field(
        default=512, ge=1, description="Most frames taken of one video, asked for or not."
    )
    max_video_bytes: int = Field(default=256 * MIB, ge=1, description="Most bytes of one encoded video.")
    max_body_bytes: int = Field(default=64 * MIB, ge=1, description="Most bytes of a request's body.")
    body_seconds: float = Field(default=60.0, gt=0, description="Time a client has to send its body.")
    fetch_seconds: float = Field(
        default=10.0, gt=0, description="Time to fetch one image, redirects included."
    )
    fetch_video_seconds: float = Field(
        default=60.0, gt=0, description="Time to fetch one video, redirects included."
    )
    video_seconds: float = Field(default=60.0, gt=0, description="Time to decode one video.")
    video_memory_mib: int = Field(default=2048, ge=128, description="Memory to decode one video.")
    video_backend: Literal["pyav", "decord"] = Field(default="pyav", description="What decodes videos.")
    drain_seconds: int = Field(
        default=30, ge=0, description="Time running requests have to end when told to stop."
    )
    decode_threads: int = Field(default=2, ge=1, description="Images decoded at the same time.")
    decode_processes: int = Field(default=2, ge=1, description="Videos decoded at the same time.")
    private_media_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts and networks to fetch media from though they are not public, commas between.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="error", description="How much the engines log; the server's own lines are always shown."
    )

    @field_validator("private_media_hosts", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("system_message", "critic_system_message")
    @classmethod
    def _none_is_empty(cls, value: str | None) -> str | None:
        return "" if value == NONE else value

    @property
    def served_name(self) -> str:
        """What /v1/models lists and requests name."""
        return self.name or Path(self.policy).name

    @property
    def policy_path(self) -> str:
        return _embedded("policy") if self.policy == "nano" else self.policy

    @property
    def critic_path(self) -> str | None:
        """None where the server runs without a critic."""
        if self.critic is None:
            return _embedded("critic") if self.policy == "nano" else None
        if self.critic == NONE:
            return None
        return _embedded("critic") if self.critic == "nano" else self.critic

    @property
    def critic_name(self) -> str:
        """The critic's name in replies and metrics."""
        embedded = self.critic_path == _embedded("critic")
        return "nano-critic" if embedded else Path(self.critic_path or NONE).name

    @property
    def private_networks(self) -> tuple[Network, ...]:
        """The networks among `private_media_hosts`."""
        return tuple(network for entry in self.private_media_hosts if (network := _as_network(entry)))


def _as_network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError:
        return None


def _embedded(role: str) -> str:
    """Folder of an embedded checkpoint, found without importing `model` or anything it needs."""
    spec = find_spec("model")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "nano" / role)
