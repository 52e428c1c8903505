"""Read the parts of a file as one file, without a joined copy on the disk."""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any


class JoinedFiles(io.RawIOBase):
    """A read-only file that consists of several files, one after the other, like `images.zip_aa`, `.._ab`.

    Raises OSError if one of them can't be opened.
    """

    def __init__(self, paths: Sequence[Path]):
        super().__init__()
        self._files = [path.open("rb") for path in paths]
        sizes = [path.stat().st_size for path in paths]
        self._starts = [0, *accumulate(sizes)]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} is before the begin of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a part of the buffer from one file, and return the number of bytes; 0 is the end."""
        if self._position >= self._starts[-1]:
            return 0
        index = bisect_right(self._starts, self._position) - 1
        view = memoryview(buffer)[: self._starts[index + 1] - self._position]
        self._files[index].seek(self._position - self._starts[index])
        count: int = self._files[index].readinto(view)
        self._position += count
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()
