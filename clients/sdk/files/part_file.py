"""A file that appears under its name only when all of it was written."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self


class PartFile:
    """Writes beside `path`, under its name with .part, and renames at the end of the block.

    After an exception nothing stays. Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")

    def __enter__(self) -> Self:
        self._file = self._part.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if error is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Write a piece at the end."""
        self._file.write(piece)
