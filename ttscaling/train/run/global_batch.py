"""Prepare the packs of each step, from every stream, while the step before it is computed."""

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ttscaling.train.objectives.objective import MicroBatch, Objective
from ttscaling.train.packs.pack_stream import PackStream


@dataclass(frozen=True)
class StepPacks:
    """The micro-batches of a process in one step, and the states of its streams after their packs.

    `states` maps the index of a stream to its state.
    """

    micros: tuple[MicroBatch, ...]
    states: Mapping[int, Mapping[str, Any]]


def own_streams(num_streams: int, rank: int, num_processes: int) -> range:
    """Return the indices of the streams that a process reads.

    Raises:
        ValueError: the streams can't be divided evenly among the processes.
    """
    if num_streams % num_processes:
        raise ValueError(
            f"{num_streams} streams can't be divided among {num_processes} processes: choose --batch or "
            "--streams as a multiple of their number"
        )
    return range(rank, num_streams, num_processes)


def restore_streams(
    streams: Mapping[int, PackStream], states: Mapping[int, Mapping[str, Any]], *, workers: int
) -> None:
    """Restore streams in `workers` threads, because the samples of their open packs are prepared again.

    Raises:
        ValueError: a state belongs to other data, or a record that was good before is bad now.
    """
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="streams") as readers:
        list(readers.map(lambda index: streams[index].restore(states[index]), streams))


def global_batches(
    streams: Mapping[int, PackStream], objective: Objective, *, workers: int = 1, packs_per_stream: int = 1
) -> Generator[StepPacks]:
    """Yield the packs of a process for each step, without an end.

    A stream that has ended yields empty micro-batches. The packs of the next step are prepared while the
    caller computes, so the streams run ahead of the caller. Save the states that come with the packs of a
    step, not the states of the streams.

    Args:
        streams: the streams of this process by their indices.
        objective: turns a pack into a micro-batch.
        workers: the most streams that are read at the same time. Each stream is read in order, so the packs
            don't depend on this number.
        packs_per_stream: number of packs that each stream gives for a step.

    Raises:
        Exception: any exception that reading a stream raises.
    """
    with (
        ThreadPoolExecutor(max_workers=workers, thread_name_prefix="streams") as readers,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="packs") as ahead,
    ):
        next_packs = ahead.submit(_prepare_packs, streams, objective, readers, packs_per_stream)
        while True:
            packs = next_packs.result()
            next_packs = ahead.submit(_prepare_packs, streams, objective, readers, packs_per_stream)
            yield packs


def _prepare_packs(
    streams: Mapping[int, PackStream], objective: Objective, readers: Executor, packs_per_stream: int
) -> StepPacks:
    def next_packs(stream: PackStream) -> list[Sequence[Any]]:
        return [next(stream, ()) for _ in range(packs_per_stream)]

    # Threads help here, because reading decodes and tiles images, which mostly runs outside Python's lock.
    drawn = readers.map(next_packs, streams.values())
    return StepPacks(
        micros=tuple(objective.micro(pack) for packs in drawn for pack in packs),
        states={index: stream.state() for index, stream in streams.items()},
    )
