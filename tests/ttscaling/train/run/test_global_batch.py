"""The packs of a step and their order don't depend on the number of threads that prepare them."""

from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch

from tests.ttscaling.train.jobs import job
from ttscaling.records.meta import read_meta
from ttscaling.train.run.global_batch import StepPacks, global_batches
from ttscaling.train.run.task import make_task


def batches(folder: Path, *, workers: int, number: int) -> Sequence[StepPacks]:
    sft_job = job(folder)
    data_sets = read_meta(sft_job.data, base=sft_job.base)
    task = make_task("sft", sft_job.model, data_sets, sft_job.recipe)
    streams = {index: task.stream(index) for index in range(sft_job.recipe.batch)}
    with closing(global_batches(streams, task.objective, workers=workers)) as steps:
        return list(islice(steps, number))


def test_packs_do_not_depend_on_the_threads(tmp_path: Path) -> None:
    one, four = (batches(tmp_path, workers=workers, number=5) for workers in (1, 4))
    for ours, theirs in zip(four, one, strict=True):
        assert ours.states == theirs.states
        for own, other in zip(ours.micros, theirs.micros, strict=True):
            assert torch.equal(own.batch.ids_1T, other.batch.ids_1T)
            assert torch.equal(own.batch.pos_1T, other.batch.pos_1T)
            tiles = (own.batch.tiles_NHWC, other.batch.tiles_NHWC)
            assert tiles == (None, None) or torch.equal(*tiles)


class Stream:
    """A stream that waits at the barrier for the other streams, and then gives an empty pack or fails."""

    def __init__(self, barrier: Barrier, error: Exception | None = None) -> None:
        self._barrier = barrier
        self._error = error

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> tuple[Any, ...]:
        self._barrier.wait(30)
        if self._error is not None:
            raise self._error
        return ()

    def state(self) -> dict[str, Any]:
        return {}


class IdentityObjective:
    """An objective whose micro-batches are the packs."""

    def micro(self, pack: Sequence[Any]) -> Any:
        return pack


def test_streams_are_read_at_the_same_time() -> None:
    barrier = Barrier(3)
    streams: Any = {index: Stream(barrier) for index in range(3)}
    objective: Any = IdentityObjective()
    with closing(global_batches(streams, objective, workers=3)) as steps:
        assert [len(packs.micros) for packs in islice(steps, 2)] == [3, 3]


def test_the_error_of_the_first_failing_stream_is_raised() -> None:
    barrier = Barrier(3)
    errors = [None, ValueError("second"), ValueError("third")]
    streams: Any = {index: Stream(barrier, error) for index, error in enumerate(errors)}
    objective: Any = IdentityObjective()
    steps = global_batches(streams, objective, workers=3)
    with closing(steps), pytest.raises(ValueError, match="second"):
        next(steps)
