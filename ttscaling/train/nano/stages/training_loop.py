"""The optimisation loop that all training stages of nano share, on one process or several."""

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
    """AdamW's settings: a linear warm-up, then a cosine down to `final` times the peak learning rate."""

    steps: int
    peak: float
    warmup: int
    final: float = 0.02
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)

    def factor(self, step: int) -> float:
        """Return the learning rate at a step as a share of the peak."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))


def make_accelerator() -> Accelerator:
    """Return an accelerator on the CPU, and limit torch to one thread in this process."""
    torch.set_num_threads(1)  # More threads don't make tensors this small any faster.
    # A text-only batch gives the vision tower no gradients, which DDP accepts only with this option.
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
    """Minimise the loss of a module in place, and leave the module in evaluation mode.

    `module(batch_at(step))` returns the loss and a dict of figures to show. `on_step` gets the number of
    steps done and the smoothed figures, on the main process only.
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
    """Return the mean of a value over all processes, without a gradient.

    With it the weights of a loss are normalised over the batches of all processes.
    """
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
