"""Log the figures of a run, in `log.jsonl`, on the terminal, and to the trackers that were asked for."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from .progress_display import ProgressDisplay, figures_text
from .trackers import Trackers

HELDOUT = "eval/"
"""Figures of held-out data have this prefix in the log and in the trackers."""


class Logs:
    """A context manager that writes `log.jsonl` and gives the figures to a display and to trackers.

    `log.jsonl` has one JSON object for each step, and one for each evaluation on held-out data.

    Args:
        folder: folder of the run. None writes and shows nothing, for all processes but the main one.
        display: shows the progress.
        trackers: receive the figures of each step; None means no trackers.
    """

    def __init__(self, folder: Path | None, display: ProgressDisplay, *, trackers: Trackers | None = None):
        self._folder, self._display, self._trackers = folder, display, trackers
        self._evaluated: set[int] = set()
        self._time, self._tokens = time.monotonic(), 0

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._display.__exit__(kind, error, trace)
            if self._trackers is not None:
                self._trackers.finish()

    def begin(self, step: int, *, samples: int = 0, tokens: int = 0) -> None:
        """Start the logs of a run that continues after `step`, which is 0 for a new run.

        Figures of later steps are removed. An earlier attempt logged them before it was stopped.
        """
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        # A process that was killed may have left half a line.
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        rows = [row for row in rows if row["step"] <= step]
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self._evaluated = {row["step"] for row in rows if any(name.startswith(HELDOUT) for name in row)}
        self._time, self._tokens = time.monotonic(), tokens
        self._display.begin(step, samples, tokens)
        if self._trackers is not None:
            self._trackers.start(step)

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of a finished step, with its duration and, on a GPU, with the peak of its memory.

        The peak is that of the main process since the run began, in GB (10^9 bytes).
        """
        if self._folder is None:
            return
        memory = (
            {"gpu_memory_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}
        )
        now = time.monotonic()
        seconds, tokens = now - self._time, figures["tokens"] - self._tokens
        self._time, self._tokens = now, int(figures["tokens"])
        self._display.step(step, {**figures, **memory})
        speed = {"tokens_per_second": tokens / seconds} if seconds > 0 else {}
        self._write({"step": step, "time": time.time(), "seconds": seconds, **figures, **memory})
        self._track({**figures, **memory, **speed}, step)

    def note(self, text: str) -> None:
        """Show a line that goes into no file."""
        if self._folder is not None:
            self._display.note(text)

    def heldout(self, step: int, figures: Mapping[str, float]) -> None:
        """Log figures of held-out data after `step`, unless the log has them already."""
        if self._folder is None or step in self._evaluated:
            return
        named = {f"{HELDOUT}{name}": value for name, value in figures.items()}
        self._evaluated.add(step)
        self._display.note(f"step {step}  {figures_text(named)}")
        self._write({"step": step, "time": time.time(), **named})
        self._track(named, step)
        self._time = time.monotonic()  # The evaluation doesn't count into the duration of the next step.

    def _write(self, row: Mapping[str, Any]) -> None:
        assert self._folder is not None
        with (self._folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _track(self, figures: Mapping[str, float], step: int) -> None:
        if self._trackers is not None:
            self._trackers.log(figures, step)
