"""Compare the events that were found in a video with those that it shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

TOLERANCE = 2.0  # seconds by which the times of an event may be off


@dataclass(frozen=True)
class Span:
    """An event: when it is seen (seconds), and what is said to be seen."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Score:
    """How many events are in a video, how many were found and named rightly, and what was found besides.

    `found` counts each true event once. `duplicates` are further findings of it, and `invented` are findings
    that no event explains. `median_error` is that of starts and ends, in seconds, or None without findings.
    """

    events: int
    found: int
    duplicates: int
    invented: int
    median_error: float | None

    @property
    def recall(self) -> float:
        """The share of the events that were found, or 1 if there are none."""
        return self.found / self.events if self.events else 1.0

    @property
    def precision(self) -> float:
        """The share of the findings that are the first one of an event, or 1 if there are none."""
        findings = self.found + self.duplicates + self.invented
        return self.found / findings if findings else 1.0


def score(findings: Sequence[Span], truth: Sequence[Span]) -> Score:
    """Return how well findings agree with the truth.

    A finding is of an event if it names it and its start and end are both within TOLERANCE. Each finding
    belongs to the nearest such event.
    """
    found: set[int] = set()
    duplicates = invented = 0
    errors: list[float] = []
    for finding in findings:
        fitting = [
            (abs(finding.start - event.start) + abs(finding.end - event.end), number)
            for number, event in enumerate(truth)
            if event.text in finding.text
            and abs(finding.start - event.start) <= TOLERANCE
            and abs(finding.end - event.end) <= TOLERANCE
        ]
        if not fitting:
            invented += 1
            continue
        _, number = min(fitting)
        if number in found:
            duplicates += 1
            continue
        found.add(number)
        errors += [abs(finding.start - truth[number].start), abs(finding.end - truth[number].end)]
    return Score(len(truth), len(found), duplicates, invented, median(errors) if errors else None)
