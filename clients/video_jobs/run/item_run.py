"""Make one attempt at one item, and write what came of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clients.video_jobs.items.item import Item
from clients.video_jobs.ledger.ledger import MOST_ATTEMPTS, Ledger
from clients.video_jobs.outputs.output_lines import OutputLines
from clients.video_jobs.outputs.results import result_line
from clients.video_jobs.outputs.thumbnails import keep_thumbnails

from .answering import Answerer
from .failures import Failure, WorkerLost, end_of_run, error_line, failure_of
from .paid_work import PaidWork


@dataclass(frozen=True)
class Records:
    """Where a run writes: its folder, the ledger, results.jsonl and errors.jsonl."""

    folder: Path
    ledger: Ledger
    results: OutputLines
    errors: OutputLines


@dataclass(frozen=True)
class ItemRuns:
    """Works on items, one attempt at a time.

    `note_end` is called with each item that has got its outcome, and with its error if it failed.
    """

    records: Records
    work: PaidWork
    answerer: Answerer
    note_end: Callable[[Item, Mapping[str, Any] | None], None]

    async def attempt(self, item: Item, video: Path) -> None:
        """Make one attempt at an item on its video file; a lost one leaves no end in the ledger.

        Raises RunEnds, DiskFull and CancelledError, after which the attempt doesn't count.
        """
        ledger = self.records.ledger
        try:
            number = ledger.start(item.id, item.fingerprint)
            ask = self.work.asker(item.id, item.video)
            answered = await self.answerer(item, video, ask)
            line = result_line(item, answered.answer, ask.last, attempts=number, duration=answered.duration)
            keep_thumbnails(self.records.folder, item.id, answered.thumbnails)
            ledger.finish(item.id, line)
            self.records.results.add(line)
            self.note_end(item, None)
        except WorkerLost as error:
            if ledger.state(item.id).lost >= MOST_ATTEMPTS:
                self.give_up(item, error.failure)
        except Exception as error:
            end = end_of_run(error)
            if end is not None:
                ledger.stop(item.id)
                raise end from error
            self.fail(item, failure_of(error))
        except BaseException:  # the run was cancelled
            ledger.stop(item.id)
            raise

    def fail(self, item: Item, failure: Failure) -> None:
        """Note that an item failed for good."""
        attempts = self.records.ledger.state(item.id).attempts
        line = error_line(item.id, item.video, failure, attempts)
        self.records.ledger.fail(item.id, line)
        self.records.errors.add(line)
        self.note_end(item, line)

    def give_up(self, item: Item, last: Failure | None = None) -> None:
        """Note that an item has lost as many attempts as it gets. `last` tells how the last one ended."""
        reason = last or Failure("answer", "worker_lost", "its process died each time")
        message = f"given up after {MOST_ATTEMPTS} attempts: {reason.message}"
        self.fail(item, replace(reason, message=message, retryable=False))
