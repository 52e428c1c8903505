"""Tell how fast a run goes and when it will be done, from the work that its items are expected to be."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Pace:
    """Counts the work that is done. `now` returns seconds, and `total` is all the work of this run.

    The pace is that of the whole run by the clock, since several videos are worked on at a time.
    """

    now: Callable[[], float]
    total: float = 0.0
    work_done: float = 0.0
    items: int = 0
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.now()

    def add(self, work: float) -> None:
        """Note that an item is done which was this much work."""
        self.work_done += work
        self.items += 1

    @property
    def items_per_minute(self) -> float:
        """How many items were done in a minute."""
        seconds = self.now() - self.began
        return 60 * self.items / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The seconds until all the work is done, or None as long as nothing is."""
        if self.work_done <= 0:
            return None
        return (self.now() - self.began) * max(0.0, self.total - self.work_done) / self.work_done


def in_words(seconds: float | None) -> str:
    """Return a duration such as "1 h 05 min", or "?" if it is unknown."""
    if seconds is None:
        return "?"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
