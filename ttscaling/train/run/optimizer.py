"""The optimiser AdamW, and the learning rate along a run."""

import math
from importlib import import_module

import torch
from torch import nn

from ttscaling.train.settings.recipe import Recipe

# The published scripts keep these defaults of Hugging Face's trainer, and VisualPRM's paper states the same.
_BETAS = (0.9, 0.999)


def make_optimizer(module: nn.Module, recipe: Recipe, *, sharded: bool = False) -> torch.optim.Optimizer:
    """Return AdamW over the parameters that aren't frozen, with weight decay on matrices only.

    Raises:
        ValueError: the recipe wants moments in 8 bits, and bitsandbytes isn't installed or the model is
            `sharded`, which bitsandbytes can't handle.
    """
    groups = [
        {**group, "params": [p for p in group["params"] if p.requires_grad]}  # type: ignore[attr-defined]
        for group in parameter_groups(module, recipe.weight_decay)
    ]
    if recipe.optimizer == "adamw8bit":
        if sharded:
            raise ValueError(
                "the optimiser adamw8bit doesn't train a sharded model: use adamw, or a single GPU"
            )
        try:
            adamw_8bit = import_module("bitsandbytes.optim").AdamW8bit  # no dependency of the project
        except ImportError as error:
            raise ValueError(
                "the optimiser adamw8bit needs bitsandbytes: install it with `pip install bitsandbytes`, or "
                "use adamw"
            ) from error
        optimizer: torch.optim.Optimizer = adamw_8bit(groups, lr=recipe.learning_rate, betas=_BETAS)
        return optimizer
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=_BETAS, fused=True)


def learning_rate_factor(before: float, after: float, warmup: float) -> float:
    """Return the learning rate of a step as a share of the peak.

    It rises linearly during the warm-up and falls to 0 along a cosine afterwards.

    Args:
        before: share of the run that is done before the step, 0 to 1.
        after: share of the run that is done after the step. The rise follows `after`, so that no step has a
            rate of 0.
        warmup: share of the run during which the rate rises.
    """
    if before < warmup:
        return min(after / warmup, 1.0)
    progress = (before - warmup) / (1 - warmup) if warmup < 1 else 0.0
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return the parameters in two groups: matrices with weight decay, and vectors without."""
    matrices = [p for p in module.parameters() if p.ndim >= 2]
    vectors = [p for p in module.parameters() if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
