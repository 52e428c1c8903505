"""Read files with one JSON object on each line, in a stream or by index, and write complete ones."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .bad_records import BadRecords, RecordError

Json = Mapping[str, Any]
T = TypeVar("T")

LFS_POINTER = b"version https://git-lfs."
"""How a file begins that git-lfs put in the place of a large file."""
LONGEST_LINE = 64 * 2**20
"""In bytes. A longer line means that the file has another format, so it isn't read into memory."""


def parse_line(line: bytes, parse: Callable[[Json], T], where: str) -> T:
    """Return the record on one line.

    Args:
        line: the line, with or without the line break.
        parse: makes a record of the JSON object or raises RecordError.
        where: `file:line`, which every message begins with.

    Raises:
        RecordError: the line isn't a JSON object, or `parse` refuses it.
    """
    if len(line) > LONGEST_LINE:
        raise RecordError(f"{where}: the line is longer than 64 MiB: write one JSON object on each line")
    try:
        data = json.loads(line)
        if b"\\u" in line:  # half of a surrogate pair is valid JSON, but it can't be encoded as text
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        if line.startswith(LFS_POINTER):
            problem = "the file is a pointer of git-lfs, not the data: run `git lfs pull` where it came from"
            raise RecordError(f"{where}: {problem}") from error
        problem = f"the line is not JSON ({error}): write one JSON object on each line, in UTF-8"
        raise RecordError(f"{where}: {problem}") from error
    if not isinstance(data, dict):
        problem = f"the line is a JSON {type(data).__name__}, not an object: write one object on each line"
        raise RecordError(f"{where}: {problem}")
    try:
        return parse(data)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error


def read_records(path: Path, parse: Callable[[Json], T], bad_records: BadRecords) -> Iterator[T]:
    """Yield the records of a file line by line; `bad_records` counts the bad ones. Blank lines are skipped.

    Raises:
        TooManyBadRecordsError: more records are bad than `bad_records` allows. The share is checked for each
            bad record and at the end of the file.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            try:
                record = parse_line(line, parse, f"{path}:{number}")
            except RecordError as error:
                bad_records.reject(str(error))
                continue
            bad_records.accept()
            yield record
    bad_records.check_share()


def write_records(path: Path, rows: Iterable[Json]) -> int:
    """Write one JSON object on each line and return the number of lines.

    The file appears under its name only when it is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    count = 0
    with unfinished.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return count


class LineFile:
    """The lines of a file by index, without the file in memory. Blank lines have no index.

    The file is read once to find where its lines begin, and 16 bytes are kept for each line. Raises OSError
    if it can't be read.
    """

    def __init__(self, path: Path):
        self.path = path
        starts, numbers, offset = [], [], 0
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                if line.strip():
                    starts.append(offset)
                    numbers.append(number)
                offset = file.tell()
        self._start = np.array(starts, dtype=np.int64)
        self._number = np.array(numbers, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._start)

    def record(self, index: int, parse: Callable[[Json], T]) -> T:
        """Return the record on line `index`, counted from 0 without blank lines. Raises as `parse_line`."""
        with self.path.open("rb") as file:
            file.seek(int(self._start[index]))
            line = file.readline(LONGEST_LINE + 1)
        return parse_line(line, parse, self.where(index))

    def where(self, index: int) -> str:
        """Return `file:line` of a line, as messages name it."""
        return f"{self.path}:{self._number[index]}"


def _lines(file: Any) -> Iterator[bytes]:
    """Yield the first LONGEST_LINE + 1 bytes of every line; the bytes beyond are skipped."""
    while line := file.readline(LONGEST_LINE + 1):
        piece = line
        while len(piece) > LONGEST_LINE and not piece.endswith(b"\n"):
            piece = file.readline(LONGEST_LINE + 1)
        yield line
