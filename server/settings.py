"""The server's settings: flags of `internvl3 serve`, variables and their defaults.

A flag wins over its variable, and a variable over the default. `__main__` reads the settings once and passes
them on as a `Settings`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from ttscaling.types import OnCriticError

from .embedded import embedded_checkpoint
from .file_settings import FileSettings
from .host_names import checked_host
from .limit_settings import LimitSettings, split_at_commas
from .remote_critic_settings import RemoteCriticSettings

NONE = "none"
ADAPTER = re.compile(r"[^=\s]+=.+")
ALIAS = re.compile(r"(?P<name>.+):bo(?P<n>[0-9]{1,9})")  # NAME:bo8, for clients that can't send extra fields
CriticDelta = Literal["own", "request"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Settings(LimitSettings, FileSettings, RemoteCriticSettings):
    """All settings of one server. Raises pydantic's ValidationError for a value out of its range.

    The field `max_tiles` is the flag --max-tiles and the variable INTERNVL3_MAX_TILES, and its description is
    the flag's help text.
    """

    model_config = SettingsConfigDict(env_prefix="INTERNVL3_", frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Host names that clients may use, separated by commas, or `*` for all. "
        "By default all, and on a loopback address only the names of the loopback.",
    )
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
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may call the server from a browser, separated by commas, "
        "or `*` for all.",
    )
    policy: str = Field(
        default="nano",
        description="Checkpoint that answers: a folder, a name on the hub, `nano` for the embedded one, or "
        "`none` for a server that only scores.",
    )
    adapters: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Adapters (LoRA) of the policy, as NAME=FOLDER, separated by commas. A request gets one "
        "by its name as the model.",
    )
    name: str | None = Field(
        default=None, description="Name of the policy in requests; by default the last part of its path."
    )
    critic: str | None = Field(
        default=None,
        description="Checkpoint that scores candidates: a folder, a name on the hub, `nano`, or `none` for "
        "no critic. By default the policy `nano` has the critic `nano`, and other policies have none.",
    )
    system_message: str | None = Field(
        default=None,
        description="System message for conversations that have none, or `none` to send none; "
        "by default the checkpoint's own.",
    )
    critic_system_message: str | None = Field(
        default=None,
        description="System message for the critic, or `none` to send none; by default the checkpoint's own.",
    )
    trust_special_tokens: bool = Field(
        default=False,
        description="Read special tokens in the texts of requests as special tokens. By default they are "
        "ordinary text, so that no text can forge a role, an image or the end of a turn.",
    )
    dtype: Dtype = Field(default="auto", description="Number format of weights and activations.")
    max_model_len: int | None = Field(
        default=None,
        ge=64,
        description="Context window in tokens; by default the checkpoint's number of positions.",
    )
    cut_max_tokens: bool = Field(
        default=False,
        description="Lower a max_tokens that doesn't fit the window to what is left, instead of refusing it.",
    )
    kv_cache_gib: int = Field(
        default=1, ge=1, description="Size of each engine's key-value cache in GiB, on a CPU only."
    )
    policy_args: str = Field(
        default="", description="Further flags of `vllm serve` for the policy, in one string."
    )
    critic_args: str = Field(
        default="", description="Further flags of `vllm serve` for the critic, in one string."
    )
    critic_delta: CriticDelta = Field(
        default="own",
        description="Delta of V2PE with which the critic sees the images of candidates: its `own`, as long "
        "as they fit its window so, or that of the `request`.",
    )
    critic_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Seconds in which the critic returns no score for any answer; then scoring has failed.",
    )
    on_critic_error: OnCriticError = Field(
        default="self_consistency",
        description="What happens if the critic can score no candidate, for requests that don't say it.",
    )
    drain_delay: int = Field(
        default=0,
        ge=0,
        description="Seconds in which a server that was told to stop still answers new requests, while "
        "`/readyz` says that it is leaving, so that load balancers notice it.",
    )
    drain_seconds: int = Field(
        default=30,
        ge=0,
        description="Seconds after the delay that running requests have to end; new ones are refused.",
    )
    log_level: LogLevel = Field(
        default="error",
        description="Least severe log lines of the engines to show; the server's own lines are always shown.",
    )

    @field_validator("allowed_hosts", "allowed_origins", "adapters", mode="before")
    @classmethod
    def _http_lists(cls, value: Any) -> Any:
        return split_at_commas(value)

    @field_validator("adapters")
    @classmethod
    def _adapters(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        names = [entry.partition("=")[0] for entry in entries]
        for entry, name in zip(entries, names, strict=True):
            if not ADAPTER.fullmatch(entry) or ALIAS.fullmatch(name):
                raise ValueError(
                    f"{entry} is not of the form NAME=FOLDER; NAME may not end in :bo and a number"
                )
        if len(set(names)) < len(names):
            raise ValueError("two adapters have the same name; rename one")
        return entries

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_host(entry) for entry in entries)

    @field_validator("system_message", "critic_system_message")
    @classmethod
    def _none_is_empty(cls, value: str | None) -> str | None:
        return "" if value == NONE else value

    @property
    def served_name(self) -> str:
        """The name of the policy, or of the critic if it is alone, in `/v1/models` and in requests."""
        return self.name or Path(self.policy).name if self.has_policy else self.critic_name

    @property
    def has_policy(self) -> bool:
        """Whether the server answers, and doesn't only score."""
        return self.policy != NONE

    @property
    def has_critic(self) -> bool:
        """Whether a critic scores candidates, here or in another server."""
        return self.critic_url is not None or self.critic_path is not None

    @property
    def adapter_folders(self) -> Mapping[str, Path]:
        """The folders of the policy's LoRA adapters, by their names in requests."""
        pairs = (entry.partition("=") for entry in self.adapters)
        return {name: Path(folder) for name, _, folder in pairs}

    @property
    def policy_path(self) -> str:
        """The policy's folder, or its name on the hub."""
        return embedded_checkpoint("policy") if self.policy == "nano" else self.policy

    @property
    def critic_path(self) -> str | None:
        """The critic's folder, or its name on the hub; None if the server runs no critic itself."""
        if self.critic is None:
            if self.critic_url is not None:
                return None
            return embedded_checkpoint("critic") if self.policy == "nano" else None
        if self.critic == NONE:
            return None
        return embedded_checkpoint("critic") if self.critic == "nano" else self.critic

    @property
    def critic_name(self) -> str:
        """The critic's name in replies and metrics; `none` if there is no critic."""
        embedded = self.critic_path == embedded_checkpoint("critic")
        return "nano-critic" if embedded else Path(self.critic_path or NONE).name


def default_text(field: str) -> str:
    """Return a setting's default as a user types it; empty if it has none, or is a switch that is off."""
    default = Settings.model_fields[field].get_default()
    if default is None or default is False:
        return ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
