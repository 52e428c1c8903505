"""The global sequence of draws from several data sets, which the seed fixes.

Each draw takes its source, and then the next record in the shuffled order of that source. The order is
shuffled again each time it is used up. There are two ways to choose the sources. By weight, each draw takes
one at random, and the sequence has no end. In exact passes, each pass takes every source as often as its
weight says, in a random order. Then a pass has every record as often as its data set is repeated.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4096  # draws by weight whose sources are chosen at once


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set in a mixture, with its number of records and its weight, which is any positive number."""

    name: str
    length: int
    weight: float


class DrawOrder:
    """The sequence of draws. All streams of a process share it, so that a shuffled order is kept only once.

    Args:
        sources: the data sets.
        seed: seed of the sequence.
        exact: whether the sources are chosen in exact passes. A weight is then a number of draws, rounded.

    Raises ValueError for a source without records or without a positive weight.
    """

    def __init__(self, sources: Sequence[Source], *, seed: int, exact: bool = False):
        wrong = [source.name for source in sources if source.length < 1 or not 0 < source.weight < np.inf]
        if not sources:
            raise ValueError("an empty mixture has nothing to draw: give at least one source")
        if wrong:
            raise ValueError(
                f"no records or no positive weight: {', '.join(wrong)}; remove these data sets or mend them"
            )
        self.sources = tuple(sources)
        self.seed = seed
        self.exact = exact
        self._counts = [max(1, round(source.weight)) for source in sources]
        self._lock = Lock()  # so that no two threads shuffle the same order at the same time
        # Streams are in step with each other, but for the border between two blocks or two epochs.
        self._chosen = lru_cache(maxsize=2)(self._choose)
        self._shuffled = lru_cache(maxsize=2 * len(sources))(self._shuffle)

    @property
    def one_pass(self) -> int:
        """The number of draws of an exact pass, in which repeated data sets count with their repeats."""
        return sum(self._counts)

    @property
    def block(self) -> int:
        """The number of draws whose sources are chosen at once."""
        return self.one_pass if self.exact else _BLOCK

    def sources_of_block(self, block: int) -> NDArray[np.int32]:
        """Return the index of the source of each draw in a block."""
        with self._lock:
            return self._chosen(block)

    def record(self, source: int, taken: int) -> int:
        """Return the record of a source's draw number `taken`, counted from 0 within the source."""
        epoch, position = divmod(taken, self.sources[source].length)
        with self._lock:
            return int(self._shuffled(source, epoch)[position])

    def identity(self) -> dict[str, Any]:
        """Return what the sequence depends on, as JSON."""
        return {
            "sources": [asdict(source) for source in self.sources],
            "seed": self.seed,
            "exact": self.exact,
        }

    def _choose(self, block: int) -> NDArray[np.int32]:
        rng = np.random.default_rng([self.seed, 0, block])
        if self.exact:
            return rng.permutation(np.repeat(np.arange(len(self.sources), dtype=np.int32), self._counts))
        weights = np.array([source.weight for source in self.sources])
        return rng.choice(len(weights), size=_BLOCK, p=weights / weights.sum()).astype(np.int32)

    def _shuffle(self, source: int, epoch: int) -> NDArray[np.int32]:
        rng = np.random.default_rng([self.seed, 1, source, epoch])
        return rng.permutation(self.sources[source].length).astype(np.int32)
