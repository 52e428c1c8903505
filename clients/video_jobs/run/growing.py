"""Tell whether a file that appeared in a folder is complete, or is still being written."""

import time
from pathlib import Path

STILL_SECONDS = 5.0


class GrowingFiles:
    """Remembers when the size or the time of a file was last seen to change.

    `seconds` is how long a file must not have changed.
    """

    def __init__(self, seconds: float = STILL_SECONDS) -> None:
        self._seconds = seconds
        self._states: dict[Path, tuple[tuple[int, int], float]] = {}

    def is_complete(self, path: Path) -> bool:
        """Return whether a file isn't empty and has not changed since it was first seen, long enough ago."""
        try:
            stat = path.stat()
        except OSError:
            self._states.pop(path, None)
            return False
        state, now = (stat.st_size, stat.st_mtime_ns), time.monotonic()
        before, since = self._states.get(path, (None, now))
        if before != state:
            self._states[path] = (state, now)
            return False
        return stat.st_size > 0 and now - since >= self._seconds
