"""Read the file that names the API keys of a server and the limits of each key.

It is TOML with a table for each key. It holds the SHA-256 of a key and not the key, so whoever reads the file
can't use the server:

    [keys.reports]
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    requests_per_minute = 600
    max_best_of = 16
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.errors import StartupError, field_path

NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
RATES = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")


class KeyEntry(BaseModel):
    """One key. Its fields that begin with `max_` replace the settings of the same names for its requests."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    admin: bool = False
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrent_requests: int | None = Field(default=None, ge=1)
    max_best_of: int | None = Field(default=None, ge=1)
    max_answers: int | None = Field(default=None, ge=1)
    max_images: int | None = Field(default=None, ge=0)
    max_videos: int | None = Field(default=None, ge=0)
    max_pixels: int | None = Field(default=None, ge=1, le=170_000_000)
    max_request_tiles: int | None = Field(default=None, ge=1)
    max_request_frames: int | None = Field(default=None, ge=1)
    max_request_steps: int | None = Field(default=None, ge=1)
    max_request_characters: int | None = Field(default=None, ge=1)
    max_file_bytes: int | None = Field(default=None, ge=1)
    max_stored_bytes: int | None = Field(default=None, ge=1)
    max_batches: int | None = Field(default=None, ge=1)
    max_batch_lines: int | None = Field(default=None, ge=1)

    @property
    def limits(self) -> Mapping[str, int]:
        """The settings that this key replaces, by name."""
        return {name: value for name, value in self if name.startswith("max_") and value is not None}


class KeyFile(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    keys: dict[str, KeyEntry]


def digest_of(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal digits, as the file holds it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_key_file(path: Path) -> Mapping[str, KeyEntry]:
    """Return the keys of a file by name.

    Raises StartupError, whose message is one line, if the file can't be read or holds something else.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        keys = KeyFile.model_validate(content).keys
    except OSError as error:
        raise StartupError(f"can't read the API keys in {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = field_path(first["loc"]) or "the file"
        raise StartupError(f"the API keys in {path}: {where}: {first['msg']}") from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise StartupError(f"the API keys in {path} are no TOML file: {error}") from None
    for name in keys:
        if not NAME.fullmatch(name):
            raise StartupError(
                f"the API keys in {path}: {name[:64]!r} is no name; use up to 64 letters, digits, dots, "
                "hyphens and underscores"
            )
    digests = [entry.sha256 for entry in keys.values()]
    if len(set(digests)) < len(digests):
        raise StartupError(f"the API keys in {path}: two names have the same sha256")
    return keys
