"""A part of an open file, as a file of its own that counts what was read of it."""

import io
from collections.abc import Callable
from typing import BinaryIO

# Called with the bytes that were sent so far, and with all bytes.
OnProgress = Callable[[int, int], None]


def ignore_progress(sent: int, total: int) -> None:
    """Do nothing with the progress of a transfer."""


class FileSlice:
    """The bytes of an open file from `start`, `size` of them; httpx reads it as a file.

    `on_progress` is called after each piece with the bytes of the whole file that were read, and `total`.
    """

    def __init__(
        self, file: BinaryIO, start: int, size: int, *, total: int, on_progress: OnProgress = ignore_progress
    ) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._total = total
        self._on_progress = on_progress
        self._position = 0

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes of the slice, `count` at most."""
        remaining = self._size - self._position
        self._file.seek(self._start + self._position)
        piece = self._file.read(remaining if count < 0 else min(count, remaining))
        self._position += len(piece)
        if piece:
            self._on_progress(self._start + self._position, self._total)
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the slice, and return the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = min(max(base + offset, 0), self._size)
        return self._position

    def tell(self) -> int:
        """Return the position within the slice."""
        return self._position
