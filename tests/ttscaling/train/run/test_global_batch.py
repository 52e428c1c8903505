"""Packs of a step: the same in the same order, however many threads prepare them."""

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
    asked = job(folder)
    data_sets = read_meta(asked.data, base=asked.base)
    task = make_task("sft", asked.model, data_sets, asked.recipe)
    streams = {index: task.stream(index) for index in range(asked.recipe.batch)}
    with closing(global_batches(streams, task.objective, workers=workers)) as made:
        return list(islice(made, number))


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
    """Gives a pack only when so many are being read at once, or fails."""

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


class Nothing:
    def micro(self, pack: Sequence[Any]) -> Any:
        return pack


def test_streams_are_read_at_the_same_time() -> None:
    barrier = Barrier(3)
    streams: Any = {index: Stream(barrier) for index in range(3)}
    objective: Any = Nothing()
    with closing(global_batches(streams, objective, workers=3)) as made:
        assert [len(packs.micros) for packs in islice(made, 2)] == [3, 3]


def test_the_failure_that_is_told_is_the_first_stream_s() -> None:
    barrier = Barrier(3)
    errors = [None, ValueError("second"), ValueError("third")]
    streams: Any = {index: Stream(barrier, error) for index, error in enumerate(errors)}
    objective: Any = Nothing()
    made = global_batches(streams, objective, workers=3)
    with closing(made), pytest.raises(ValueError, match="second"):
        next(made)
