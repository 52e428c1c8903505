"""Take one optimiser step on a global batch."""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.train.objectives.losses import scaled_loss
from ttscaling.train.objectives.objective import Objective

from .global_batch import StepPacks


class NotFiniteError(ValueError):
    """The loss or the gradient of a step isn't finite."""


@dataclass(frozen=True)
class BatchTotals:
    """The weight of a global batch and its numbers of samples and tokens, over all processes."""

    weight: torch.Tensor  # float64
    samples: int
    tokens: int


def step(
    module: nn.Module,
    optimizer: Any,
    objective: Objective,
    packs: StepPacks,
    totals: BatchTotals,
    accelerator: Accelerator,
    *,
    rate: float,
    clip: float,
) -> dict[str, float]:
    """Take one optimiser step on a global batch, and return its figures as means over the batch.

    Args:
        module: the wrapped model.
        optimizer: the wrapped optimiser.
        objective: gives the loss of a micro-batch.
        packs: the micro-batches of this process.
        totals: the totals of the global batch.
        accelerator: the one that wrapped the module and the optimiser.
        rate: learning rate of this step.
        clip: largest norm of the gradient.

    Raises:
        NotFiniteError: the loss or the gradient isn't finite, on any process. All processes raise it, and no
            weight has changed.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate
    sums: dict[str, torch.Tensor] = {}
    for number, micro in enumerate(packs.micros, start=1):
        # FSDP2 would keep whole gradients on each GPU until it may reduce them.
        reduced = accelerator.is_fsdp2 or number == len(packs.micros)
        with nullcontext() if reduced else accelerator.no_sync(module):
            loss, figures = module(objective.loss, micro)
            accelerator.backward(scaled_loss(loss, totals.weight, num_processes=accelerator.num_processes))
        for name, figure in figures.items():
            sums[name] = sums.get(name, 0) + figure.double()
    norm = float(accelerator.clip_grad_norm_(module.parameters(), clip))
    means = accelerator.reduce(torch.stack(list(sums.values())), reduction="sum") / totals.weight
    figures = {**dict(zip(sums, means.tolist(), strict=True)), "gradient": norm, "rate": rate}
    # Both figures are sums over all processes, so all of them decide alike.
    if not math.isfinite(norm + figures["loss"]):
        raise NotFiniteError(f"its loss is {figures['loss']} and the norm of its gradient is {norm}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    objective.after_step(lambda own: accelerator.reduce(own, reduction="sum"))
    return figures
