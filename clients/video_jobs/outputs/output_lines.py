"""Keep results.jsonl and errors.jsonl while a job runs: one line for each item, whatever was interrupted.

The ledger is the truth. A line is appended after the ledger has it, and what a kill tore or left out is made
good when the file is opened again.
"""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from clients.video_jobs.ledger.append_log import parse
from clients.video_jobs.ledger.identity import write_texts

from .results import as_json


class OutputLines:
    """A file that gets a line for each outcome.

    `kept` are the ids of the outcomes that there are already, and `line_of` returns the line of one. If the
    file holds exactly these, nothing is written; lines that it lacks are appended; a file with anything else
    in it is written anew, and is never there in part. Raises OSError if it can't be written.
    """

    def __init__(
        self, path: Path, kept: Collection[str], line_of: Callable[[str], Mapping[str, Any]]
    ) -> None:
        self._path = path
        found = _ids(path)
        if found is None or not found <= set(kept):
            write_texts(path, (as_json(line_of(item)) for item in kept))
            return
        for item in kept:
            if item not in found:
                self.add(line_of(item))

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line; it is on the disk when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(as_json(line))
            file.flush()
            os.fsync(file.fileno())


def _ids(path: Path) -> set[str] | None:
    """Return the ids in a file, or None if it has a torn or a second line of an item, or doesn't exist."""
    if not path.exists():
        return None
    ids: set[str] = set()
    with path.open("rb") as file:
        for content in file:
            line = parse(content)
            item = None if line is None else line.get("custom_id")
            if not isinstance(item, str) or item in ids or not content.endswith(b"\n"):
                return None
            ids.add(item)
    return ids
