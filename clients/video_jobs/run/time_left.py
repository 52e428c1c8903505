"""Tell how fast a run goes and when it will be done, from the work that its items are expected to be."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Pace:
    """The items of a run that are left, and what those were that have ended. `now` returns seconds.

    The work of an item is a number, such as its tokens. Until it is known, the item counts as an average one.
    The pace is that of the whole run by the clock, since several videos are worked on at a time.
    """

    now: Callable[[], float]
    began: float = field(init=False)
    _left: dict[str, float | None] = field(default_factory=dict)
    _ended: dict[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.now()

    def expect(self, item: str) -> None:
        """Add an item that is to be worked on."""
        self._left[item] = None

    def weigh(self, item: str, work: float) -> None:
        """Note how much work an item is."""
        for items in (self._left, self._ended):
            if item in items:
                items[item] = work

    def end(self, item: str) -> None:
        """Note that an item has its outcome."""
        self._ended[item] = self._left.pop(item, None)

    @property
    def items_per_minute(self) -> float:
        """How many items had their outcome in a minute."""
        seconds = self.now() - self.began
        return 60 * len(self._ended) / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The seconds until all items have their outcome, or None as long as none has."""
        if not self._ended:
            return None
        known = [work for items in (self._left, self._ended) for work in items.values() if work is not None]
        average = sum(known) / len(known) if known else 1.0
        left, ended = (
            sum(average if work is None else work for work in items.values())
            for items in (self._left, self._ended)
        )
        return (self.now() - self.began) * left / ended if ended else None


def in_words(seconds: float | None) -> str:
    """Return a duration such as "1 h 05 min", or "?" if it is unknown."""
    if seconds is None:
        return "?"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
