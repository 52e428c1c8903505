"""Results kept as they come, one JSON object a line: a run that was cut off goes on where it ended."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ttscaling.console import CommandError

Row = Mapping[str, Any]


class ResultsFile:
    """The rows of a file, and of this run behind them; a context manager. Without a path nothing is kept.

    The first line says what the rows hold for. Raises EvaluationError where that differs from `identity`, or
    the file is none of ours. A last line that was cut off is dropped.
    """

    def __init__(self, path: Path | None, identity: Row) -> None:
        self.rows: list[Row] = []
        if path is None:
            self._file = None
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise CommandError(f"{path} can't be written: {error.strerror}") from None
        try:
            self._read(path, identity)
        except CommandError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row: Row) -> None:
        """One more result, in the file when this returns."""
        self.rows.append(row)
        self._write(row)

    def _read(self, path: Path, identity: Row) -> None:
        assert self._file is not None, "there is a path"
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        try:
            found = [json.loads(line) for line in whole.splitlines()]
            known = found[0]["identity"] if found else None
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"{path} holds no results of this command: name another file") from None
        expected = json.loads(json.dumps(identity))
        if known is None:
            self._write({"identity": identity})
        elif known != expected:
            keys = [key for key in {**known, **expected} if known.get(key) != expected.get(key)]
            differs = "; ".join(f"{key} {known.get(key)!r} there, {expected.get(key)!r} now" for key in keys)
            raise CommandError(f"{path} holds results of another run ({differs}): name another file")
        self.rows = found[1:]

    def _write(self, row: Row) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()
