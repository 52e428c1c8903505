"""The folder in which the frames of videos are kept, so that each video is decoded once."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import VideoError
from .stored import INDEX, StoredFrames

GIB = 2**30
UNFINISHED = ".part-"
ABANDONED = 24 * 3600.0  # seconds after which an unfinished entry is taken for that of a killed process


class FrameCache:
    """Entries in a folder, of which those that were used longest ago are dropped above `max_bytes`.

    Several processes may share the folder. An entry that is dropped while it is read stays readable.
    """

    def __init__(self, folder: Path, max_bytes: int = 20 * GIB) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    def find(self, name: str) -> StoredFrames | None:
        """Return an entry's frames, or None if there is none that is complete."""
        entry = self._folder / name
        try:
            frames = StoredFrames.open(entry)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with suppress(OSError):
            os.utime(entry)
        return frames

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """Yield a new empty folder beside the entries; what is left of it at the end is removed.

        Raises VideoError if the folder can't be made.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self._folder))
        except OSError as error:
            raise VideoError(
                f"The frames can't be kept in {self._folder}: {error.strerror}. Name another folder.", "cache"
            ) from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def add(self, name: str, unfinished: Path) -> StoredFrames:
        """Make an entry of a filled folder, and return its frames. Raises VideoError if it has vanished."""
        entry = self._folder / name
        try:
            frames = StoredFrames.open(unfinished)
            shutil.rmtree(entry, ignore_errors=True)  # one that isn't complete
            with suppress(OSError):  # another process was first with an equal one
                unfinished.rename(entry)
        except (OSError, ValueError):
            raise VideoError(
                f"The folder {self._folder} has vanished while frames were written into it. Run it again.",
                "cache",
                retryable=True,
            ) from None
        self._shrink(keep=entry)
        return frames

    def _shrink(self, keep: Path) -> None:
        """Drop the entries that were used longest ago until the rest fits, and what killed processes left."""
        entries = []
        for entry in self._folder.iterdir():
            with suppress(OSError):
                used = entry.stat().st_mtime
                if not entry.name.startswith(UNFINISHED):
                    entries.append((used, sum(file.stat().st_size for file in entry.iterdir()), entry))
                elif used < time.time() - ABANDONED:
                    shutil.rmtree(entry, ignore_errors=True)
        excess = sum(size for _, size, _ in entries) - self._max_bytes
        for _, size, entry in sorted(entries):
            if excess <= 0:
                return
            if entry != keep:
                # The index goes first, so that a half removed entry isn't complete.
                with suppress(OSError):
                    (entry / INDEX).unlink()
                shutil.rmtree(entry, ignore_errors=True)
                excess -= size
