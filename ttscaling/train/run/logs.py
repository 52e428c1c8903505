"""Report the progress of a run as a bar, as one line of figures for each step, and for TensorBoard."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .event_file import write_header, write_scalars

_SMOOTHING = 0.95


class Logs:
    """A context manager that shows progress and writes `log.jsonl` and `tensorboard/`.

    `log.jsonl` has one JSON object for each step.

    Args:
        folder: folder of the run. None writes and shows nothing, for all processes but the main one.
        title: text in front of the bar.
        total: number of steps of the run, or None if the data decide when it ends.
    """

    def __init__(self, folder: Path | None, *, title: str, total: int | None):
        self._folder = folder
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("step {task.completed:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            disable=folder is None,
        )
        self._task = self._bar.add_task(title, total=total, figures="")
        self._loss: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, step: int) -> None:
        """Start the logs of a run that continues after `step`, which is 0 for a new run.

        Figures of later steps are removed. An earlier attempt logged them before it was stopped.
        """
        self._bar.update(self._task, completed=step)
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        # A process that was killed may have left half a line.
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        rows = [row for row in rows if row["step"] <= step]
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self._events.parent.mkdir(exist_ok=True)
        with self._events.open("wb") as file:
            write_header(file, time.time())
        for row in rows:
            self._write_events(row)

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of a finished step. The bar shows a smoothed loss."""
        loss = figures["loss"]
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        shown = f"loss {self._loss:.4f}  {figures['tokens'] / 1e6:.2f}M tokens"
        self._bar.update(self._task, completed=step, figures=shown)
        if self._folder is None:
            return
        row = {"step": step, "time": time.time(), **figures}
        with (self._folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._write_events(row)

    @property
    def _events(self) -> Path:
        assert self._folder is not None
        return self._folder / "tensorboard" / "events.out.tfevents.0.internvl3"

    def _write_events(self, row: Mapping[str, Any]) -> None:
        scalars = {name: value for name, value in row.items() if name not in ("step", "time")}
        with self._events.open("ab") as file:
            write_scalars(file, row["time"], row["step"], scalars)
