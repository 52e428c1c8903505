"""Show on a terminal how far a run is; anywhere else, print a line now and then."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from clients.video_jobs.items.item import Item

from .time_left import Pace, in_words

QUIET_SECONDS = 60.0  # between two lines where there is no terminal


class JobProgress:
    """The bar of a run, with the time that is left; a context manager that ends it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace(time.monotonic)
        self._failed = 0
        self._last_line = time.monotonic()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        self._bar = Progress(*columns, console=console)
        self._task = self._bar.add_task("items", total=0, pace="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def expect(self, item: Item) -> None:
        """Add an item that is still to be worked on."""
        self._pace.expect(item.id)
        self._bar.update(self._task, total=(self._bar.tasks[0].total or 0) + 1)

    def weigh(self, item: Item, work: float) -> None:
        """Note how much work an item is, so that the time left follows from it."""
        self._pace.weigh(item.id, work)

    def note_end(self, item: Item, error: Mapping[str, Any] | None) -> None:
        """Note that an item has its outcome, and print why it failed if it did."""
        self._pace.end(item.id)
        if error is not None:
            self._failed += 1
            self.say(f"{item.id} failed ({error['stage']}, {error['class']}): {error['message']}")
        self._bar.update(self._task, advance=1, pace=self._summary())
        if not self._console.is_terminal and time.monotonic() - self._last_line > QUIET_SECONDS:
            self._last_line = time.monotonic()
            task = self._bar.tasks[0]
            self.say(f"{task.completed:.0f} of {task.total:.0f} items, {self._summary()}")

    def say(self, line: str) -> None:
        """Print a line above the bar, as text that a terminal doesn't obey."""
        shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
        self._console.print(Text(shown), soft_wrap=True)

    def _summary(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        left = in_words(self._pace.seconds_left)
        return f"{self._pace.items_per_minute:.1f} a minute, {left} left{failed}"
