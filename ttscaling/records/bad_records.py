"""Count and name bad records; a few are skipped, too many stop the run."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("internvl3.train.data")

SHOWN = 20
"""This many bad records are reported one by one and kept for the summary; the others are only counted."""
GRACE = 1000
"""The share is taken of at least this many records, so that one early bad record doesn't stop a long run."""


def _warn(problem: str) -> None:
    logger.warning("skipped %s", problem)


class RecordError(ValueError):
    """One record can't be used. The message says what is wrong with it and what to change."""


class TooLongError(RecordError):
    """A record is good, and its sample is over the limits of a pack."""


class TooManyBadRecordsError(ValueError):
    """More records were bad than allowed. The message counts them and names the first ones."""


@dataclass
class BadRecords:
    """Counts the good and the bad records of a run, and those that are good and too long for a pack.

    `allowed` is the share of bad records that doesn't stop the run, 0 to 1; with 0 the first one stops it.
    `tell` is called with each of the first SHOWN bad records when it is found. `examples` keeps the same
    ones. Raises ValueError if `allowed` isn't between 0 and 1.
    """

    allowed: float = 0.01
    good: int = 0
    bad: int = 0
    too_long: int = 0
    examples: list[str] = field(default_factory=list)
    tell: Callable[[str], None] = field(default=_warn, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.allowed <= 1:
            raise ValueError(f"the allowed share of bad records must be between 0 and 1, not {self.allowed}")

    def accept(self) -> None:
        """Count a record that was used."""
        self.good += 1

    def reject(self, problem: str) -> None:
        """Count a bad record; `problem` names it (`file:line: what is wrong`).

        Raises:
            TooManyBadRecordsError: more records are bad than allowed, or GRACE are bad and none is good.
        """
        self.bad += 1
        if self.bad <= SHOWN:
            self.examples.append(problem)
            self.tell(problem)
        if self.too_many or (self.bad >= GRACE and not self.good):
            raise self._error()

    def leave_out(self, problem: str) -> None:
        """Count a record that is too long for a pack, which is no fault of the record.

        Raises:
            TooManyBadRecordsError: GRACE records can't be used, and none can.
        """
        self.too_long += 1
        if self.too_long <= SHOWN:
            self.tell(problem)
        if self.bad + self.too_long >= GRACE and not self.good:
            raise TooManyBadRecordsError(
                f"{self.too_long} records are too long for a pack, and none can be used. The last one is "
                f"{problem}"
            )

    @property
    def too_many(self) -> bool:
        """Whether the share of bad records, taken of at least GRACE records, is above the allowed one."""
        return self.bad > self.allowed * max(self.good + self.bad, GRACE)

    def check_share(self) -> None:
        """Check the share of bad records at the end of the data, where GRACE no longer counts.

        Raises TooManyBadRecordsError.
        """
        if self.bad > self.allowed * (self.good + self.bad):
            raise self._error()

    def summary(self) -> str:
        """Return how many records were bad, and the first of them, one on each line."""
        counted = f"{self.bad} of {self.good + self.bad} records were bad (allowed: {self.allowed:.2%})"
        more = [f"... and {self.bad - SHOWN} more"] if self.bad > SHOWN else []
        return "\n  ".join([counted, *self.examples, *more])

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON, for `restore`."""
        return {
            "good": self.good,
            "bad": self.bad,
            "too_long": self.too_long,
            "examples": list(self.examples),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on counting from a saved state."""
        self.good, self.bad, self.too_long = state["good"], state["bad"], state["too_long"]
        self.examples = list(state["examples"])

    def _error(self) -> TooManyBadRecordsError:
        advice = "Correct or remove these records, or allow a larger share of bad ones."
        return TooManyBadRecordsError(f"{self.summary()}\n{advice}")


def merge_counts(counts: Iterable[BadRecords], allowed: float) -> BadRecords:
    """Return the sum of several counts, with one allowed share for all records together."""
    total = BadRecords(allowed)
    for count in counts:
        total.good, total.bad = total.good + count.good, total.bad + count.bad
        total.too_long += count.too_long
        total.examples += count.examples[: SHOWN - len(total.examples)]
    return total
