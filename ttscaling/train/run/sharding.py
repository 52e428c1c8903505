"""Prepare the model and its optimiser for one process, for several, or sharded over several."""

from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.parts import freeze_all_but, shard_unit_names
from ttscaling.train.objectives.objective import MicroBatch

from .optimizer import make_optimizer
from .task import TrainingTask


class ShardedRoot(nn.Module):
    """A module around the model, so that every computation with the model happens within one `forward`.

    The wrappers of distributed training (DDP, FSDP) need this.
    """

    def __init__(self, model: V2PEInternVL):
        super().__init__()
        self.model = model
        # accelerate reads this attribute to find the units that FSDP shards.
        self._no_split_modules = shard_unit_names(model)

    def forward(self, work: Any, micro: MicroBatch) -> Any:
        """Return `work(model, micro)`."""
        return work(self.model, micro)

    def tie_weights(self) -> None:
        """Tie the weights again. accelerate calls this after it has moved the weights of a sharded model."""
        self.model.tie_weights()


def make_accelerator(precision: str) -> Accelerator:
    """Return the accelerator for the environment that the launcher set, on the CPU if there is no GPU.

    `precision` is that of a recipe, `fp32` or `bf16`.
    """
    return Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="bf16" if precision == "bf16" else "no"
    )


def prepared(model: V2PEInternVL, task: TrainingTask, accelerator: Accelerator) -> tuple[nn.Module, Any]:
    """Return the wrapped model and its optimiser.

    The parts of the model that the recipe doesn't train are frozen. Activations are recomputed if the recipe
    says so.
    """
    freeze_all_but(model, task.recipe.parts)
    if task.recipe.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    module = ShardedRoot(model.train())
    module, optimizer = accelerator.prepare(module, make_optimizer(module, task.recipe))
    return module, optimizer
