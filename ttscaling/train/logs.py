"""What a run tells: a progress bar, and a line of figures for every step."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SMOOTHING = 0.95


class Logs:
    """Writes `log.jsonl`, one object a step, and shows progress. Used as a context.

    Args:
        path: the file; None writes none (all processes but the main one).
        title: put in front of the bar.
        total: steps of the run, None where the data decide.
    """

    def __init__(self, path: Path | None, *, title: str, total: int | None):
        self._path = path
        self._file: IO[str] | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("step {task.completed:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            disable=path is None,
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
        if self._file:
            self._file.close()

    def begin(self, step: int) -> None:
        """The run goes on behind `step`: lines of later ones, from before it was stopped, are dropped."""
        self._bar.update(self._task, completed=step)
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        self._path.write_text("".join(f"{line}\n" for line in kept))
        self._file = self._path.open("a")

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of a step that is done; the bar shows the loss smoothed."""
        loss = figures["loss"]
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        shown = f"loss {self._loss:.4f}  {figures['tokens'] / 1e6:.2f}M tokens"
        self._bar.update(self._task, completed=step, figures=shown)
        if self._file:
            self._file.write(json.dumps({"step": step, **figures}) + "\n")
            self._file.flush()
