"""Keep results in a file as they arrive, so that a run that was cut off can go on."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ttscaling.console import CommandError

Row = Mapping[str, Any]
SERVER = "server"  # the key of the server's setup in an identity
ABSENT = "absent"


class ResultsFile:
    """The results of earlier runs and of this one, kept in a file with one JSON object a line.

    It is a context manager that closes the file. `rows` holds the results in the order of the file. Without a
    path nothing is written. The first line holds the `identity`: the settings that the results depend on, the
    server's among them. Raises CommandError if the file has another identity, isn't a results file or can't
    be written; the message names each setting that differs. A last line that was cut off is removed.
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
        """Append one result; it is in the file when this returns."""
        self.rows.append(row)
        self._write(row)

    def _read(self, path: Path, identity: Row) -> None:
        assert self._file is not None, "the file is open"
        self._file.seek(0)
        content = self._file.read()
        complete = content[: content.rfind(b"\n") + 1]
        if len(complete) < len(content):
            self._file.truncate(len(complete))
        try:
            lines = [json.loads(line) for line in complete.splitlines()]
            kept = lines[0]["identity"] if lines else None
        except (ValueError, KeyError, TypeError):
            raise CommandError(f"{path} is no results file of this command: name another file") from None
        current = json.loads(json.dumps(identity))
        if kept is None:
            self._write({"identity": identity})
        elif SERVER in current and SERVER not in kept:
            raise CommandError(
                f"{path} doesn't say which checkpoints and server settings its results are from, because an "
                "older version wrote it, so new results can't be added: name another file"
            )
        elif differences := _differences(kept, current):
            raise CommandError(
                f"{path} holds results of other settings ({'; '.join(differences)}): name another file, or "
                "go back to those settings"
            )
        self.rows = lines[1:]

    def _write(self, row: Row) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row).encode() + b"\n")
            self._file.flush()


def _differences(kept: Row, current: Row) -> list[str]:
    """Return a text for each setting that differs; "server.policy.dtype" is a setting inside of others."""
    before, now = _flat(kept), _flat(current)
    names = [name for name in {**before, **now} if before.get(name, ABSENT) != now.get(name, ABSENT)]
    return [f"{name} is {before.get(name, ABSENT)} there and {now.get(name, ABSENT)} now" for name in names]


def _flat(settings: Row, prefix: str = "") -> dict[str, str]:
    """Return the settings as JSON texts; the names of those inside of others are joined by dots."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value, ensure_ascii=False)
    return flat
