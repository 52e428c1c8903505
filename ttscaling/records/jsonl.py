"""Files of one JSON object a line: read in a stream or by number, written whole or not at all."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .bad_records import BadRecords, RecordError

Json = Mapping[str, Any]
T = TypeVar("T")

LONGEST_LINE = 64 * 2**20
"""Bytes. A longer line means that the file isn't one object a line; it isn't read into memory."""


def parse_line(line: bytes, parse: Callable[[Json], T], where: str) -> T:
    """One line as a record.

    Args:
        line: the line, with or without its end.
        parse: makes a record of the JSON object or raises RecordError.
        where: `file:line`, put before every message.

    Raises:
        RecordError: it isn't a JSON object, or `parse` refused it.
    """
    if len(line) > LONGEST_LINE:
        raise RecordError(f"{where}: the line is longer than 64 MiB: write one JSON object a line")
    try:
        data = json.loads(line)
        if b"\\u" in line:  # half of a surrogate pair is JSON, but no text
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: not JSON ({error}): write one JSON object a line, in UTF-8") from error
    if not isinstance(data, dict):
        raise RecordError(f"{where}: a JSON {type(data).__name__}, not an object: write one object a line")
    try:
        return parse(data)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error


def read_records(path: Path, parse: Callable[[Json], T], faults: BadRecords) -> Iterator[T]:
    """The records of a file, line by line; bad ones go to `faults`, blank lines are passed over.

    Raises:
        TooManyBadRecordsError: as `faults` decides, at the latest at the end of the file.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            try:
                record = parse_line(line, parse, f"{path}:{number}")
            except RecordError as error:
                faults.reject(str(error))
                continue
            faults.accept()
            yield record
    faults.check_share()


def write_records(path: Path, rows: Iterable[Json]) -> int:
    """Write one object a line; the file appears when it is complete. Returns the number of lines."""
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
    """A file's lines by number, without the file in memory: 8 bytes are kept of each.

    The first reading finds where the lines begin; blank ones are left out. Raises OSError.
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
        """The record on the line `index` (from 0, blank lines not counted). Raises as `parse_line`."""
        with self.path.open("rb") as file:
            file.seek(int(self._start[index]))
            line = file.readline(LONGEST_LINE + 1)
        return parse_line(line, parse, self.where(index))

    def where(self, index: int) -> str:
        """`file:line` of that line, as messages name it."""
        return f"{self.path}:{self._number[index]}"


def _lines(file: Any) -> Iterator[bytes]:
    """Lines of at most LONGEST_LINE + 1 bytes: what is beyond is read past."""
    while line := file.readline(LONGEST_LINE + 1):
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE + 1)
        yield line
