"""From data sets to packs: draws, records, samples, packs, with a state that can be saved and restored.

What a draw becomes depends only on the seed and the draw's number, so the state holds numbers, not samples:
those that were waiting in open packs are prepared again. It is exact as long as the files don't change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ttscaling.records.bad_records import BadRecords, RecordError
from ttscaling.records.jsonl import LineFile
from ttscaling.records.meta import DataSet
from ttscaling.train.settings.pack_limits import Packable, PackLimits

from .mixture import Draw, Mixture, Source
from .packing import Packer

R = TypeVar("R")
P = TypeVar("P", bound=Packable)


@dataclass(frozen=True)
class DrawnSample(Generic[P]):
    """A prepared sample and the draw that it came from."""

    draw: Draw
    sample: P

    @property
    def num_tokens(self) -> int:
        return self.sample.num_tokens

    @property
    def num_tiles(self) -> int:
        return self.sample.num_tiles


class Corpus(Generic[R, P]):
    """Data sets of one format, opened: draws can be made of them.

    Args:
        data_sets: as `read_meta` gives them.
        parse: the format's parser, for example `parse_chat`.
        prepare: makes a record of a data set a sample, with a generator for all that is random.
        seed: of that generator.

    Raises OSError where a file can't be read.
    """

    def __init__(
        self,
        data_sets: Sequence[DataSet],
        parse: Callable[[Mapping[str, Any]], R],
        prepare: Callable[[R, DataSet, np.random.Generator], P],
        *,
        seed: int,
    ):
        self.data_sets = tuple(data_sets)
        self._files = [LineFile(data_set.annotation) for data_set in data_sets]
        self._parse = parse
        self._prepare = prepare
        self._seed = seed

    def sources(self, weights: Mapping[str, float] | None = None) -> tuple[Source, ...]:
        """What a mixture draws from.

        A data set counts by its number of records times its `repeat_time`, as published, or by `weights`.

        Raises:
            ValueError: a weight is missing.
        """
        sources = []
        for data_set, file in zip(self.data_sets, self._files, strict=True):
            if weights is not None and data_set.name not in weights:
                raise ValueError(f"no weight for the data set {data_set.name!r}: give every data set one")
            length = int(len(file) * min(data_set.repeat_time, 1))
            weight = len(file) * data_set.repeat_time if weights is None else weights[data_set.name]
            sources.append(Source(name=data_set.name, length=length, weight=weight))
        return tuple(sources)

    def sample(self, draw: Draw, limits: PackLimits) -> P:
        """The sample of a draw. Raises RecordError, with file and line, also for one over the limits."""
        data_set, file = self.data_sets[draw.source], self._files[draw.source]
        rng = np.random.default_rng([self._seed, 2, draw.number])

        def prepared(data: Mapping[str, Any]) -> P:
            sample = self._prepare(self._parse(data), data_set, rng)
            excess = limits.excess(sample)
            if excess:
                raise RecordError(excess)
            return sample

        return file.record(draw.record, prepared)


class PackStream:
    """Iterates over a shard's packs. Ends after the mixture's limit, if it has one.

    Raises TooManyBadRecordsError while iterating, as `faults` decides. The share of bad records in the end is
    for whoever reads all shards to judge: one of them may be a handful of records.
    """

    def __init__(self, corpus: Corpus[Any, Any], mixture: Mixture, limits: PackLimits, faults: BadRecords):
        self.corpus = corpus
        self.mixture = mixture
        self.limits = limits
        self.faults = faults
        self._packer: Packer[DrawnSample[Any]] = Packer(limits)

    def __iter__(self) -> "PackStream":
        return self

    def __next__(self) -> tuple[DrawnSample[Any], ...]:
        for draw in self.mixture:
            try:
                drawn = self._drawn(draw)
            except RecordError as error:
                self.faults.reject(str(error))
                continue
            self.faults.accept()
            pack = self._packer.add(drawn)
            if pack:
                return pack
        pack = self._packer.close()
        if pack is None:
            raise StopIteration
        return pack

    def state(self) -> dict[str, Any]:
        """Everything that the next packs depend on, as JSON. Take it between two packs."""
        waiting = [[asdict(drawn.draw) for drawn in pack] for pack in self._packer.open_packs()]
        return {"mixture": self.mixture.state(), "faults": self.faults.state(), "waiting": waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where a saved state left off.

        Raises:
            ValueError: the state is of other data, or a record that was good is no longer.
        """
        self.mixture.restore(state["mixture"])
        self.faults.restore(state["faults"])
        packs = [[Draw(**draw) for draw in pack] for pack in state["waiting"]]
        self._packer.reopen([tuple(self._drawn(draw) for draw in pack) for pack in packs])

    def _drawn(self, draw: Draw) -> DrawnSample[Any]:
        return DrawnSample(draw, self.corpus.sample(draw, self.limits))


def one_pass(sources: Sequence[Source]) -> int:
    """How many draws see every record about once, repeats included: the limit of a one-epoch run."""
    return round(sum(source.weight for source in sources))
