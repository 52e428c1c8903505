"""Draw records from several data sets, weighted and shuffled, in one sequence that shards divide.

The seed fixes the global sequence. Draw n takes its source at random by the weights, and then the next record
in the shuffled order of that source. The order is shuffled again each time it is used up. Shard r of R gets
the draws r, r + R, r + 2R, ...
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4096  # draws whose sources are chosen at once


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set in a mixture, with its number of records and its weight, which is any positive number."""

    name: str
    length: int
    weight: float


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

    The global sequence ends after `limit` draws, or never if `limit` is None. Raises ValueError for a source
    without records or without a positive weight.
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
        if not sources:
            raise ValueError("an empty mixture has nothing to draw: give at least one source")
        if wrong:
            raise ValueError(
                f"no records or no positive weight: {', '.join(wrong)}; remove these data sets or mend them"
            )
        self.sources = tuple(sources)
        self.seed = seed
        self.shard = shard
        self.limit = limit
        self._number = 0  # number of the next global draw
        self._taken = [0] * len(sources)  # number of global draws from each source so far
        self._chosen_N = self._choices(0)
        # For each source its latest epoch, and the shuffled order of its records in this epoch.
        self._order: dict[int, tuple[int, NDArray[np.int64]]] = {}

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
        self._chosen_N = self._choices(self._number // _BLOCK)

    def identity(self) -> dict[str, Any]:
        """Return what the global sequence depends on, as JSON. It is equal for all shards."""
        return {"sources": [asdict(source) for source in self.sources], "seed": self.seed}

    def _depends_on(self) -> dict[str, Any]:
        return {**self.identity(), "shard": asdict(self.shard)}

    def _choices(self, block: int) -> NDArray[np.int64]:
        """Return the index of the source of each draw in a block."""
        weights = np.array([source.weight for source in self.sources])
        rng = np.random.default_rng([self.seed, 0, block])
        return rng.choice(len(weights), size=_BLOCK, p=weights / weights.sum())

    def _record(self, source: int, taken: int) -> int:
        """Return the record of a source's draw number `taken`, counted from 0 within the source."""
        length = self.sources[source].length
        epoch, position = divmod(taken, length)
        if self._order.get(source, (-1,))[0] != epoch:
            rng = np.random.default_rng([self.seed, 1, source, epoch])
            self._order[source] = epoch, rng.permutation(length)
        return int(self._order[source][1][position])
