"""Weighted, shuffled draws from several data sets: one sequence, whatever the number of shards.

The global sequence is fixed by the seed: draw n comes from a source chosen with its weight, and takes the
next record of that source's shuffled order, which is shuffled anew each time it is used up. Shard r of R
gets the draws r, r + R, r + 2R, ...
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4096  # draws decided at a time


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set in a mixture: its name, how many records it has, and its weight (any positive number)."""

    name: str
    length: int
    weight: float


@dataclass(frozen=True)
class Shard:
    """Which part of the draws a process sees: `index` of `count` (rank x workers + worker)."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"shard {self.index} of {self.count}: count from 0 to {self.count - 1}")


@dataclass(frozen=True)
class Draw:
    """One draw: its number in the global sequence, the source's index, and the record's index in there."""

    number: int
    source: int
    record: int


class Mixture:
    """Iterates over a shard's draws; `limit` ends the global sequence after so many (None: never).

    Raises ValueError for sources that can't be drawn from.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        seed: int,
        shard: Shard = Shard(),
        limit: int | None = None,
    ):
        wrong = [source.name for source in sources if source.length < 1 or not 0 < source.weight < np.inf]
        if wrong or not sources:
            raise ValueError(
                f"no records, or no positive weight, in: {', '.join(wrong) or 'an empty mixture'}"
            )
        self.sources = tuple(sources)
        self.seed = seed
        self.shard = shard
        self.limit = limit
        self._number = 0  # of the next global draw
        self._taken = [0] * len(sources)  # global draws from each source so far
        self._chosen_N = self._choices(0)
        self._order: dict[int, tuple[int, NDArray[np.int64]]] = {}  # source -> its latest epoch, shuffled

    def __iter__(self) -> "Mixture":
        return self

    def __next__(self) -> Draw:
        while self.limit is None or self._number < self.limit:
            number = self._number
            if number and number % _BLOCK == 0:
                self._chosen_N = self._choices(number // _BLOCK)
            source = int(self._chosen_N[number % _BLOCK])
            taken = self._taken[source]
            self._taken[source] += 1
            self._number += 1
            if number % self.shard.count == self.shard.index:
                return Draw(number, source, self._record(source, taken))
        raise StopIteration

    def state(self) -> dict[str, Any]:
        """Where the sequence stands, as JSON, with what it depends on."""
        return {**self._depends_on(), "number": self._number, "taken": list(self._taken)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where a saved state left off.

        Raises:
            ValueError: the state is of another mixture; the message says what differs.
        """
        different = [key for key, value in self._depends_on().items() if state.get(key) != value]
        if different:
            raise ValueError(
                f"the saved state is of another mixture: {', '.join(different)} differ. Resume with the "
                "data, seed and number of processes that the run began with, or start a new run"
            )
        self._number, self._taken = state["number"], list(state["taken"])
        self._chosen_N = self._choices(self._number // _BLOCK)

    def identity(self) -> dict[str, Any]:
        """What the global sequence depends on, as JSON: the same for all its shards."""
        return {"sources": [asdict(source) for source in self.sources], "seed": self.seed}

    def _depends_on(self) -> dict[str, Any]:
        return {**self.identity(), "shard": asdict(self.shard)}

    def _choices(self, block: int) -> NDArray[np.int64]:
        """The sources of a block of draws."""
        weights = np.array([source.weight for source in self.sources])
        rng = np.random.default_rng([self.seed, 0, block])
        return rng.choice(len(weights), size=_BLOCK, p=weights / weights.sum())

    def _record(self, source: int, taken: int) -> int:
        """The record that the draw number `taken` (from 0) of a source takes."""
        length = self.sources[source].length
        epoch, position = divmod(taken, length)
        if self._order.get(source, (-1,))[0] != epoch:
            rng = np.random.default_rng([self.seed, 1, source, epoch])
            self._order[source] = epoch, rng.permutation(length)
        return int(self._order[source][1][position])
