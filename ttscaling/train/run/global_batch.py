"""The packs of each step: one from every stream, prepared while the step before is computed."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ttscaling.train.objectives.objective import MicroBatch, Objective
from ttscaling.train.packs.pack_stream import PackStream


@dataclass(frozen=True)
class StepPacks:
    """A process's part of a global batch, and its streams' states behind it."""

    micros: tuple[MicroBatch, ...]
    states: Mapping[int, Mapping[str, Any]]


def own_streams(num_streams: int, rank: int, num_processes: int) -> range:
    """The streams that a process reads.

    Raises:
        ValueError: they can't be shared out evenly.
    """
    if num_streams % num_processes:
        raise ValueError(
            f"a global batch of {num_streams} packs can't be shared by {num_processes} processes: make it a "
            "multiple of them"
        )
    return range(rank, num_streams, num_processes)


def global_batches(
    streams: Mapping[int, PackStream], objective: Objective, *, workers: int = 1
) -> Generator[StepPacks]:
    """A process's packs, step by step, without an end: a stream that has ended gives empty micro-batches.

    The next step's packs are prepared meanwhile, so the states that come with a step's packs are the ones to
    save after it. Of its streams up to `workers` are read at the same time; each is read in its own order, so
    the packs don't depend on how many. Raises as the streams do.
    """
    with (
        ThreadPoolExecutor(max_workers=workers, thread_name_prefix="streams") as readers,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="packs") as ahead,
    ):
        coming = ahead.submit(_next_packs, streams, objective, readers)
        while True:
            packs = coming.result()
            coming = ahead.submit(_next_packs, streams, objective, readers)
            yield packs


def _next_packs(streams: Mapping[int, PackStream], objective: Objective, readers: Executor) -> StepPacks:
    """Reading is decoding and tiling, most of it outside Python's lock."""
    drawn: Iterator[Sequence[Any]] = readers.map(lambda stream: next(stream, ()), streams.values())
    return StepPacks(
        micros=tuple(objective.micro(pack) for pack in drawn),
        states={index: stream.state() for index, stream in streams.items()},
    )
