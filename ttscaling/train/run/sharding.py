"""TODO: what this file is about."""

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
    """The model as distributed wrappers want it: whatever is computed with it happens within `forward`."""

    def __init__(self, model: V2PEInternVL):
        super().__init__()
        self.model = model
        self._no_split_modules = shard_unit_names(
            model
        )  # where accelerate looks for what FSDP shards by itself

    def forward(self, work: Any, micro: MicroBatch) -> Any:
        """`work(model, micro)`."""
        return work(self.model, micro)

    def tie_weights(self) -> None:
        """accelerate asks for it after it has moved the weights of a sharded model."""
        self.model.tie_weights()


def make_accelerator(precision: str) -> Accelerator:
    """For the launcher's environment; on the CPU where there is no GPU."""
    return Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="bf16" if precision == "bf16" else "no"
    )


def prepared(model: V2PEInternVL, task: TrainingTask, accelerator: Accelerator) -> tuple[nn.Module, Any]:
    """The wrapped model and its optimiser: parts frozen, activations recomputed, as the recipe says."""
    freeze_all_but(model, task.recipe.parts)
    if task.recipe.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    module = ShardedRoot(model.train())
    module, optimizer = accelerator.prepare(module, make_optimizer(module, task.recipe))
    return module, optimizer
