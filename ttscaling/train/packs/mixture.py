"""Draw records from several data sets, in one global sequence that shards divide.

Shard r of R gets the draws r, r + R, r + 2R, ...
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .draw_order import DrawOrder


@dataclass(frozen=True)
class Shard:
    """The part of the draws that a stream gets, `index` of `count`. Raises ValueError for another index."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"there is no shard {self.index} of {self.count}: use an index from 0 to {self.count - 1}"
            )


@dataclass(frozen=True)
class Draw:
    """A draw, by its number in the global sequence, the index of its source and of the record in it."""

    number: int
    source: int
    record: int


class Mixture:
    """An iterator over the draws of a shard.

    The global sequence ends after `limit` draws, or never if `limit` is None.
    """

    def __init__(self, order: DrawOrder, *, shard: Shard = Shard(), limit: int | None = None):
        self.order = order
        self.shard = shard
        self.limit = limit
        self._number = 0  # number of the next global draw
        self._taken = [0] * len(order.sources)  # number of global draws from each source so far
        self._chosen_N = order.sources_of_block(0)

    def __iter__(self) -> "Mixture":
        return self

    def __next__(self) -> Draw:
        block = self.order.block
        while self.limit is None or self._number < self.limit:
            number = self._number
            if number and number % block == 0:
                self._chosen_N = self.order.sources_of_block(number // block)
            source = int(self._chosen_N[number % block])
            taken = self._taken[source]
            self._taken[source] += 1
            self._number += 1
            if number % self.shard.count == self.shard.index:
                return Draw(number, source, self.order.record(source, taken))
        raise StopIteration

    def state(self) -> dict[str, Any]:
        """Return the position in the sequence and the settings that it depends on, as JSON."""
        return {**self._depends_on(), "number": self._number, "taken": list(self._taken)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where the saved state was taken.

        Raises:
            ValueError: the state belongs to another mixture; the message names what differs.
        """
        different = [key for key, value in self._depends_on().items() if state.get(key) != value]
        if different:
            raise ValueError(
                f"the saved state belongs to another mixture: {', '.join(different)} differ. Resume with the "
                "data, the seed and the batch that the run began with, or start a new run"
            )
        self._number, self._taken = state["number"], list(state["taken"])
        self._chosen_N = self.order.sources_of_block(self._number // self.order.block)

    def _depends_on(self) -> dict[str, Any]:
        return {**self.order.identity(), "shard": asdict(self.shard)}
