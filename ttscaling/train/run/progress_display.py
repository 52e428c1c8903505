"""Show how far a run is, as a bar on a terminal and as a line every so many steps elsewhere."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

_COUNTS = ("samples", "tokens", "gpu_memory_gb")


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """The length of a run, in steps, or in samples if the data decide when it ends. One of them is None."""

    steps: int | None = None
    samples: int | None = None

    def share_done(self, step: int, samples: int) -> float:
        """Return the share of the run that is done after `step` steps and `samples` samples, 0 to 1."""
        now, end = (step, self.steps) if self.steps is not None else (samples, self.samples)
        return min(1.0, now / end) if end else 0.0


class ProgressDisplay:
    """A context manager that shows each step, and on a terminal also a bar.

    Args:
        title: text in front of the bar and of each line.
        length: the length of the run.
        every: without a terminal, the number of steps between two lines. The first step and the last one
            have a line, too.
        console: where to write; None means standard error.
        clock: returns the time in seconds, from any start.
    """

    def __init__(
        self,
        *,
        title: str,
        length: RunLength,
        every: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._console = Console(stderr=True) if console is None else console
        self._title, self._length, self._every, self._clock = title, length, every, clock
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=1.0, text="")
        self._unshown: str | None = None
        self.begin(0, 0, 0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._unshown is not None:
            self._write(self._unshown)

    def begin(self, step: int, samples: int, tokens: int) -> None:
        """Start the clock of a run that continues after `step`, with its samples and tokens so far."""
        self._begun = self._last_time = self._clock()
        self._share_at_begin = self._length.share_done(step, samples)
        self._last_step, self._last_tokens = step, tokens
        self._first = True
        self._bar.update(self._task, completed=self._share_at_begin)

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        """Show a finished step. `figures` holds the samples and tokens of the run so far, and other figures.

        The speed is that since the last line. The time that is left follows from the speed since `begin`.
        """
        due = self._first or step % self._every == 0 or step == self._length.steps
        if not due and not self._console.is_terminal:
            self._unshown = self._line(step, figures)
            return
        line = self._line(step, figures)
        self._unshown = None
        self._first = False
        self._bar.update(
            self._task,
            completed=self._length.share_done(step, int(figures["samples"])),
            text=line.removeprefix(self._title).strip(),
        )
        if not self._console.is_terminal:
            self._write(line)
        if due:
            self._last_time, self._last_step = self._clock(), step
            self._last_tokens = int(figures["tokens"])

    def note(self, text: str) -> None:
        """Write a line of its own, above the bar if there is one."""
        self._write(f"{self._title}  {text}")

    def _line(self, step: int, figures: Mapping[str, float]) -> str:
        now, samples = self._clock(), int(figures["samples"])
        seconds, steps = now - self._last_time, step - self._last_step
        of_samples = f" of {self._length.samples}" if self._length.samples else ""
        parts = [
            f"{self._title}  step {step}" + (f" of {self._length.steps}" if self._length.steps else ""),
            f"{samples}{of_samples} samples",
            figures_text({name: value for name, value in figures.items() if name not in _COUNTS}),
        ]
        if seconds > 0 and steps > 0:
            speed = (int(figures["tokens"]) - self._last_tokens) / seconds
            parts.append(f"{speed:.0f} tokens/s  {seconds / steps:.2f} s/step")
        if "gpu_memory_gb" in figures:
            parts.append(f"{figures['gpu_memory_gb']:.1f} GB on the GPU")
        share = self._length.share_done(step, samples)
        progress = share - self._share_at_begin
        if progress > 0:
            left = (now - self._begun) / progress * (1 - share)
            parts.append(f"{timedelta(seconds=round(left))} left")
        return "  ".join(parts)

    def _write(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def figures_text(figures: Mapping[str, float]) -> str:
    """Return figures as one text, like `loss 0.6931  rate 1e-05`."""
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
