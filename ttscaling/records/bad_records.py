"""Bad records: counted, named, skipped while they are few; too many stop the run."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("internvl3.train.data")

SHOWN = 20
"""How many bad records are told of one by one and kept for the summary; the rest are only counted."""
GRACE = 1000
"""The share is taken of at least this many records, so that one early fault doesn't stop a long run."""


def _warn(problem: str) -> None:
    logger.warning("skipped %s", problem)


class RecordError(ValueError):
    """One record can't be used. The message says what is wrong with it and what to do about it."""


class TooManyBadRecordsError(ValueError):
    """More records were bad than allowed. The message counts them and names the first ones."""


@dataclass
class BadRecords:
    """Counts good and bad records of a run.

    `allowed` is the share of bad records that is put up with, 0 to 1; 0 stops at the first. `tell` hears of
    each of the first ones as it is found.
    """

    allowed: float = 0.01
    good: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)
    tell: Callable[[str], None] = field(default=_warn, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.allowed <= 1:
            raise ValueError(f"the allowed share of bad records is between 0 and 1, not {self.allowed}")

    def accept(self) -> None:
        """Count a record that was used."""
        self.good += 1

    def reject(self, problem: str) -> None:
        """Count a bad record; `problem` names it (`file:line: what is wrong`).

        Raises:
            TooManyBadRecordsError: there are more now than allowed, or many and no good one yet.
        """
        self.bad += 1
        if self.bad <= SHOWN:
            self.examples.append(problem)
            self.tell(problem)
        if self.too_many or (self.bad >= GRACE and not self.good):
            raise self._error()

    @property
    def too_many(self) -> bool:
        """Whether more were bad than allowed, on the way through the data."""
        return self.bad > self.allowed * max(self.good + self.bad, GRACE)

    def check_share(self) -> None:
        """At the end of the data: the share counts without grace. Raises TooManyBadRecordsError."""
        if self.bad > self.allowed * (self.good + self.bad):
            raise self._error()

    def summary(self) -> str:
        """How many records were bad, and the first of them, one a line."""
        counted = f"{self.bad} of {self.good + self.bad} records were bad (allowed: {self.allowed:.2%})"
        more = [f"... and {self.bad - SHOWN} more"] if self.bad > SHOWN else []
        return "\n  ".join([counted, *self.examples, *more])

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON."""
        return {"good": self.good, "bad": self.bad, "examples": list(self.examples)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on counting where a saved state left off."""
        self.good, self.bad, self.examples = state["good"], state["bad"], list(state["examples"])

    def _error(self) -> TooManyBadRecordsError:
        advice = "Mend or remove these records, or allow a larger share of bad ones."
        return TooManyBadRecordsError(f"{self.summary()}\n{advice}")


def merge_counts(parts: Iterable[BadRecords], allowed: float) -> BadRecords:
    """What several have counted, judged as one."""
    whole = BadRecords(allowed)
    for part in parts:
        whole.good, whole.bad = whole.good + part.good, whole.bad + part.bad
        whole.examples += part.examples[: SHOWN - len(whole.examples)]
    return whole
