"""What a job is about, how it runs, and how a run can end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from .servers import SILENCE
from .video_group import Shard


class Exit(IntEnum):
    """The exit codes of `internvl3 batch`."""

    ALL_GOOD = 0
    SOME_FAILED = 1
    USAGE = 2
    STOPPED_EARLY = 3  # the server is gone or the disk is full
    INTERRUPTED = 130


@dataclass(frozen=True)
class JobOptions:
    """What a job is about and how it runs.

    `settings` are those that answers depend on. `patience` is how many seconds a run waits for a server.
    `silence` is how many seconds a server may send nothing.
    """

    source: str
    questions: tuple[str, ...]
    out: Path
    base_urls: tuple[str, ...]
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 4
    patience: float = 1800.0
    silence: float = SILENCE
    shard: Shard | None = None
    follow: bool = False
    retry_failed: bool = False

    @property
    def folder(self) -> Path:
        """The folder of this run's ledger: a shard has its own."""
        return self.out if self.shard is None else shard_folder(self.out, self.shard)


@dataclass(frozen=True)
class Ending:
    """How a run ended: its exit code, a line that says why if it ended early, and the counts of items."""

    code: Exit
    message: str | None = None
    answered: int = 0
    failed: int = 0
    left: int = 0


def shard_folder(out: Path, shard: Shard) -> Path:
    """Return the folder of a shard's ledger and results."""
    return out / f"shard-{shard.index}-of-{shard.count}"
