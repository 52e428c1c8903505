"""The settings of the checkpoints that a server runs, and of their engines."""

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from server.embedded import embedded_checkpoint

from .group import SettingsGroup

NONE = "none"
ALIAS = re.compile(r"(?P<name>.+):bo(?P<n>[0-9]{1,9})")  # NAME:bo8, for clients that can't send extra fields
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class ModelSettings(SettingsGroup):
    """The policy, the critic and their engines."""

    title = "Models"

    policy: str = Field(
        default="nano",
        description="Checkpoint that answers: a folder, a name on the hub, `nano` for the embedded one, or "
        "`none` for a server that only scores.",
    )
    name: str | None = Field(
        default=None, description="Name of the policy in requests; by default the last part of its path."
    )
    critic: str | None = Field(
        default=None,
        description="Checkpoint that scores candidates: a folder, a name on the hub, `nano`, or `none` for "
        "no critic. By default the policy `nano` has the critic `nano`, and other policies have none.",
    )
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
