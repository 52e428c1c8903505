"""Make packs from data sets, with a state that can be saved and restored.

The sample of a draw depends only on the seed and the number of the draw. So a state holds the draws of the
open packs, not their samples, and the samples are prepared again. A restored stream continues exactly as long
as the files don't change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from ttscaling.records.bad_records import BadRecords, RecordError, TooLongError
from ttscaling.records.jsonl import LineFile
from ttscaling.records.meta import DataSet
from ttscaling.train.settings.pack_limits import Packable, PackLimits

from .draw_order import Source
from .mixture import Draw, Mixture
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
    """Opened data sets of one format, from which samples are prepared.

    Args:
        data_sets: the data sets that `read_meta` returns.
        parse: the parser of the format, for example `parse_chat`.
        prepare: turns a record of a data set into a sample, with a random generator.
        seed: seed of the random generators.

    Raises OSError if a file can't be read.
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
        """Return the sources of a mixture, one for each data set.

        The weight of a data set is its number of records times its `repeat_time`, as published, or its value
        in `weights`.

        Raises:
            ValueError: `weights` lacks a data set.
        """
        sources = []
        for data_set, file in zip(self.data_sets, self._files, strict=True):
            if weights is not None and data_set.name not in weights:
                raise ValueError(
                    f"no weight for the data set {data_set.name!r}: give a weight for every data set"
                )
            length = int(len(file) * min(data_set.repeat_time, 1))
            weight = len(file) * data_set.repeat_time if weights is None else weights[data_set.name]
            sources.append(Source(name=data_set.name, length=length, weight=weight))
        return tuple(sources)

    def sample(self, draw: Draw, limits: PackLimits) -> P:
        """Return the sample of a draw.

        Raises:
            RecordError: the record is bad. The message names file and line.
            TooLongError: the sample is over the limits. The message names file and line.
        """
        data_set, file = self.data_sets[draw.source], self._files[draw.source]
        rng = np.random.default_rng([self._seed, 2, draw.number])

        def prepared(data: Mapping[str, Any]) -> P:
            return self._prepare(self._parse(data), data_set, rng)

        sample = file.record(draw.record, prepared)
        excess = limits.excess(sample)
        if excess:
            raise TooLongError(f"{file.where(draw.record)}: {excess}")
        return sample


class PackStream:
    """An iterator over the packs of a shard, which ends at the limit of the mixture.

    Bad records are left out and counted in `bad_records`, which raises TooManyBadRecordsError during the
    iteration if there are too many. Samples that are too long for a pack are left out and counted apart. The
    share at the end isn't checked here, because a shard may have only a few records. The reader of all shards
    checks it.
    """

    def __init__(
        self, corpus: Corpus[Any, Any], mixture: Mixture, limits: PackLimits, bad_records: BadRecords
    ):
        self.corpus = corpus
        self.mixture = mixture
        self.limits = limits
        self.bad_records = bad_records
        self._packer: Packer[DrawnSample[Any]] = Packer(limits)

    def __iter__(self) -> "PackStream":
        return self

    def __next__(self) -> tuple[DrawnSample[Any], ...]:
        for draw in self.mixture:
            try:
                drawn = self._drawn(draw)
            except TooLongError as error:
                self.bad_records.leave_out(str(error))
                continue
            except RecordError as error:
                self.bad_records.reject(str(error))
                continue
            self.bad_records.accept()
            pack = self._packer.add(drawn)
            if pack:
                return pack
        pack = self._packer.close()
        if pack is None:
            raise StopIteration
        return pack

    def state(self) -> dict[str, Any]:
        """Return all that the next packs depend on, as JSON. Call it between two packs."""
        waiting = [[asdict(drawn.draw) for drawn in pack] for pack in self._packer.open_packs()]
        return {"mixture": self.mixture.state(), "faults": self.bad_records.state(), "waiting": waiting}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where the saved state was taken.

        Raises:
            ValueError: the state belongs to other data, or a record that was good before is bad now.
        """
        self.mixture.restore(state["mixture"])
        self.bad_records.restore(state["faults"])
        packs = [[Draw(**draw) for draw in pack] for pack in state["waiting"]]
        self._packer.reopen([tuple(self._drawn(draw) for draw in pack) for pack in packs])

    def _drawn(self, draw: Draw) -> DrawnSample[Any]:
        return DrawnSample(draw, self.corpus.sample(draw, self.limits))
