"""What a job has done: which attempts began, every reply that was paid for, and how each item ended.

Lines of the file:
  {"kind": "start", "id", "attempt", "item"}    an attempt begins; "item" is a hash of what is asked
  {"kind": "step", "id", "key", "purpose", "reply", "request_id", "server"}   a paid request and its reply
  {"kind": "stop", "id"}                        the run was ended in order, so this attempt doesn't count
  {"kind": "done", "id", "result"}              the item's line of results.jsonl
  {"kind": "fail", "id", "error"}               the item's line of errors.jsonl
  {"kind": "retry", "id"}                       a failed item is done again, and its attempts are forgotten
An attempt without an end is one whose process died.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from .append_log import AppendLog

MOST_ATTEMPTS = 3
FILE_NAME = "ledger.jsonl"
Outcome = Literal["done", "fail"]
OUTCOMES: Mapping[str, Outcome] = {"done": "done", "fail": "fail"}


@dataclass(frozen=True)
class ItemState:
    """What the ledger knows of an item.

    `attempts` counts those that began and were not stopped in order, and `lost` those of them that have no
    end. `fingerprint` is the hash of what was asked. `line` is where the line of the outcome begins.
    """

    attempts: int = 0
    lost: int = 0
    fingerprint: str = ""
    outcome: Outcome | None = None
    line: int = 0


NEW = ItemState()


class Ledger:
    """The ledger of one folder, open for one process; a context manager that closes it.

    Raises LogInUse, DiskFull and OSError as AppendLog does.
    """

    def __init__(self, folder: Path) -> None:
        self._items: dict[str, ItemState] = {}
        self._steps: dict[str, int] = {}
        self._log = AppendLog(folder / FILE_NAME)
        for start, line in self._log.lines():
            self._note(start, line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.__exit__(kind, error, trace)

    def state(self, item: str) -> ItemState:
        """Return what is known of an item."""
        return self._items.get(item, NEW)

    def known_items(self) -> Mapping[str, ItemState]:
        """Return the state of every item that an attempt began for, or that failed before one."""
        return self._items

    def start(self, item: str, fingerprint: str) -> int:
        """Note that an attempt begins, and return its number, from 1."""
        attempt = self.state(item).attempts + 1
        self._append({"kind": "start", "id": item, "attempt": attempt, "item": fingerprint})
        return attempt

    def stop(self, item: str) -> None:
        """Note that the attempt under way ends since the whole run ends."""
        self._append({"kind": "stop", "id": item})

    def step(self, item: str, key: str, purpose: str, reply: Mapping[str, Any], **source: str | None) -> None:
        """Keep the reply to a paid request. `source` says which server sent it under which request id."""
        line = {"kind": "step", "id": item, "key": key, "purpose": purpose, "reply": reply, **source}
        self._append(line)

    def finish(self, item: str, result: Mapping[str, Any]) -> None:
        """Note the result of an item."""
        self._append({"kind": "done", "id": item, "result": result})

    def fail(self, item: str, error: Mapping[str, Any]) -> None:
        """Note that an item failed for good."""
        self._append({"kind": "fail", "id": item, "error": error})

    def retry(self, item: str) -> None:
        """Forget that an item failed."""
        self._append({"kind": "retry", "id": item})

    def step_of(self, key: str) -> Mapping[str, Any] | None:
        """Return the line of a paid request, with its `reply`, or None if it was never answered."""
        start = self._steps.get(key)
        return None if start is None else self._log.read(start)

    def items_with(self, outcome: Outcome) -> list[str]:
        """Return the ids of the items that are done, or of those that failed."""
        return [item for item, state in self._items.items() if state.outcome == outcome]

    def outcome_line(self, item: str) -> Mapping[str, Any]:
        """Return the result or the error of an item that has an outcome."""
        line = self._log.read(self.state(item).line)
        outcome: Mapping[str, Any] = line["result"] if line["kind"] == "done" else line["error"]
        return outcome

    def _append(self, line: Mapping[str, Any]) -> None:
        self._note(self._log.append(line), line)

    def _note(self, start: int, line: Mapping[str, Any]) -> None:
        kind, item = str(line.get("kind")), str(line.get("id"))
        state = self.state(item)
        if kind == "step":
            self._steps.setdefault(str(line["key"]), start)
        elif kind == "start":
            attempts = state.attempts + 1
            self._items[item] = ItemState(attempts, state.lost + 1, str(line["item"]))
        elif kind == "stop":
            self._items[item] = replace(
                state, attempts=max(0, state.attempts - 1), lost=max(0, state.lost - 1)
            )
        elif kind == "retry":
            self._items[item] = ItemState(fingerprint=state.fingerprint)
        elif kind in OUTCOMES:
            lost = max(0, state.lost - 1)
            self._items[item] = replace(state, lost=lost, outcome=OUTCOMES[kind], line=start)
