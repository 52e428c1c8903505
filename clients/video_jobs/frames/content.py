"""What a file holds, as a hash, and whether it stays the same while it is read."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import VideoError


@dataclass(frozen=True)
class FileState:
    """Which file a path leads to, how long it is, and when it was written."""

    device: int
    inode: int
    size: int
    modified_ns: int


def file_state(path: Path) -> FileState:
    """Return the state of a file. Raises VideoError if it can't be looked at."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise VideoError(f"{path} can't be read: {error.strerror}. Check the path.", "probe") from None
    return FileState(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises VideoError if it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VideoError(f"{path} can't be read: {error.strerror}. Check the path.", "probe") from None


def check_unchanged(path: Path, before: FileState) -> None:
    """Raise VideoError if a file isn't as it was `before`."""
    if file_state(path) != before:
        raise VideoError(
            f"{path} was changed while it was read. Wait until it is complete, and then run it again.",
            "probe",
            retryable=True,
        )
