"""What a run tells: a progress bar, a line of figures for every step, and the same for TensorBoard."""

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
    """Writes `log.jsonl`, one object a step, and `tensorboard/`, and shows progress. Used as a context.

    Args:
        folder: of the run; None writes nothing (all processes but the main one).
        title: put in front of the bar.
        total: steps of the run, None where the data decide.
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
        """The run goes on behind `step`: what was told of later ones, before it was stopped, is dropped."""
        self._bar.update(self._task, completed=step)
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        # A process that is killed may leave half a line.
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        rows = [row for row in rows if row["step"] <= step]
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self._events.parent.mkdir(exist_ok=True)
        with self._events.open("wb") as file:
            write_header(file, time.time())
        for row in rows:
            self._tell_tensorboard(row)

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of a step that is done; the bar shows the loss smoothed."""
        loss = figures["loss"]
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        shown = f"loss {self._loss:.4f}  {figures['tokens'] / 1e6:.2f}M tokens"
        self._bar.update(self._task, completed=step, figures=shown)
        if self._folder is None:
            return
        row = {"step": step, "time": time.time(), **figures}
        with (self._folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._tell_tensorboard(row)

    @property
    def _events(self) -> Path:
        assert self._folder is not None
        return self._folder / "tensorboard" / "events.out.tfevents.0.internvl3"

    def _tell_tensorboard(self, row: Mapping[str, Any]) -> None:
        scalars = {name: value for name, value in row.items() if name not in ("step", "time")}
        with self._events.open("ab") as file:
            write_scalars(file, row["time"], row["step"], scalars)
