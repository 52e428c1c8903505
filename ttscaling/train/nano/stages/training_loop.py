"""The optimisation loop that every training stage shares, on one process or several."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import nn

from ttscaling.train.run.optimizer import parameter_groups


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """AdamW with linear warm-up and a cosine to `final` times the peak learning rate."""

    steps: int
    peak: float
    warmup: int
    final: float = 0.02
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)

    def factor(self, step: int) -> float:
        """Learning rate at `step` as a share of the peak."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


def make_accelerator() -> Accelerator:
    """One thread a process: tensors this small gain nothing from more."""
    torch.set_num_threads(1)
    # A text-only batch leaves the vision tower without gradients.
    return Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])


def train(
    module: nn.Module,
    batch_at: Callable[[int], object],
    schedule: Schedule,
    *,
    accelerator: Accelerator,
    title: str,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
) -> None:
    """Minimise `module(batch_at(step))`, which returns the loss and a dict of figures to show.

    `on_step` sees the steps done and the smoothed figures, on the main process.
    """
    optimizer = torch.optim.AdamW(
        parameter_groups(module, schedule.weight_decay), lr=schedule.peak, betas=schedule.betas, fused=True
    )
    wrapped = accelerator.prepare_model(module)
    wrapped.train()
    smoothed: dict[str, float] = {}
    with _progress(accelerator) as progress:
        bar = progress.add_task(title, total=schedule.steps, figures="")
        for step in range(schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.peak * schedule.factor(step)
            loss, figures = wrapped(batch_at(step))
            accelerator.backward(loss)
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for name, value in figures.items():
                smoothed[name] = value if name not in smoothed else 0.95 * smoothed[name] + 0.05 * value
            progress.update(bar, advance=1, figures=" ".join(f"{k} {v:.3f}" for k, v in smoothed.items()))
            if on_step and accelerator.is_main_process:
                on_step(step + 1, smoothed)
    module.eval()


def global_mean(value: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """The mean over processes, without a gradient: loss weights normalise over the global batch."""
    return accelerator.reduce(value.detach(), reduction="mean")


def _progress(accelerator: Accelerator) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        disable=not accelerator.is_main_process,
    )
