"""A file of JSON lines that only grows; a line is on the disk when `append` returns.

The file of a process that was killed may end with a part of a line. Nothing is cut off: the next line begins
on a line of its own, and the reader passes over what is no JSON object.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

RESERVE = 1 << 20  # bytes that are kept free, so that replies on their way can be written to a full disk


class LogInUse(Exception):
    """Another process writes to this file."""


class DiskFull(Exception):
    """The disk is full. What was to be written is on it nevertheless if `is_written` is true."""

    def __init__(self, path: Path, *, is_written: bool) -> None:
        super().__init__(f"the disk is full: make room for {path.parent}, then run the command again")
        self.is_written = is_written


class AppendLog:
    """The open file; a context manager that closes it. Only one process can have it open.

    A reserve of RESERVE bytes lies beside the file. It is given up when the disk is full, so that the replies
    that have been paid for can still be written. Raises LogInUse, and DiskFull or OSError if the file can't
    be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reserve = path.with_name(f".{path.name}.reserve")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            self._fill_reserve()
            end = os.fstat(self._file).st_size
            self._is_torn = end > 0 and os.pread(self._file, 1, end - 1) != b"\n"
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._reserve.unlink(missing_ok=True)

    def append(self, line: Mapping[str, Any]) -> int:
        """Write one line and return where it begins; it is on the disk when this returns.

        Raises DiskFull if the disk is full, also if the line could be written to the reserve.
        """
        content = json.dumps(line).encode() + b"\n"
        try:
            return self._write(content)
        except OSError as error:
            full = self._full(error, is_written=True)
            self._reserve.unlink(missing_ok=True)
            try:
                self._write(content)
            except OSError as second:
                raise self._full(second, is_written=False) from second
            raise full from error

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each line that is a JSON object with the place where it begins."""
        with self._path.open("rb") as file:
            start = 0
            for content in file:
                line = parse(content)
                if line is not None:
                    yield start, line
                start += len(content)

    def read(self, start: int) -> dict[str, Any]:
        """Return the line that begins at `start`."""
        with self._path.open("rb") as file:
            file.seek(start)
            line = parse(file.readline())
        assert line is not None, "a line begins where `append` or `lines` said so"
        return line

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogInUse(f"another run works in {self._path.parent}: wait until it ends") from None

    def _fill_reserve(self) -> None:
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            raise self._full(error, is_written=False) from error

    def _write(self, content: bytes) -> int:
        """Write a line on a line of its own and return where it begins."""
        separator = b"\n" if self._is_torn else b""
        start = os.fstat(self._file).st_size + len(separator)
        self._is_torn = True  # until all of the line is on the disk
        rest = separator + content
        while rest:
            rest = rest[os.write(self._file, rest) :]
        os.fsync(self._file)
        self._is_torn = False
        return start

    def _full(self, error: OSError, *, is_written: bool) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return DiskFull(self._path, is_written=is_written)
        return error


def parse(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a line, or None for a torn line."""
    try:
        line = json.loads(content)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
