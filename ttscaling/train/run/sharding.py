"""Prepare the model and its optimiser for one process, for several, or sharded over several."""

from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy

from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.lora import add_adapters
from ttscaling.train.network.parts import freeze_all_but, shard_unit_names
from ttscaling.train.objectives.objective import MicroBatch

from .optimizer import make_optimizer
from .task import TrainingTask

_PATIENCE = timedelta(hours=2)
_SHARDED = (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)


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

    Processes wait for each other for up to two hours, because the main process reads the checkpoint and
    writes the trained one while the others wait. `precision` is that of a recipe, `fp32` or `bf16`.

    Raises:
        ValueError: the launcher's config shards in another way than FSDP2.
    """
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if precision == "bf16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    if accelerator.distributed_type in _SHARDED and not accelerator.is_fsdp2:
        raise ValueError(
            "the launcher's config shards in a way that rounds V2PE positions to bf16: launch with "
            "recipes/fsdp2.yaml, or with another config that has fsdp_version: 2"
        )
    if accelerator.is_fsdp2 and precision == "bf16":
        accelerator.state.fsdp_plugin.mixed_precision_policy = exact_policy()
    return accelerator


def exact_policy() -> MixedPrecisionPolicy:
    """Return FSDP2's policy for bf16 that rounds weights for the computation, and nothing else.

    accelerate's own policy rounds every float that enters or leaves the root, also within dataclasses. These
    are the V2PE positions, the weights of the samples, the losses, and the log-probabilities of the
    reference. It also adds up gradients in bf16.
    """
    return MixedPrecisionPolicy(
        param_dtype=torch.bfloat16,
        reduce_dtype=torch.float32,
        output_dtype=None,
        cast_forward_inputs=False,
    )


def prepared(model: V2PEInternVL, task: TrainingTask, accelerator: Accelerator) -> tuple[nn.Module, Any]:
    """Return the wrapped model and its optimiser.

    The parts of the model that the recipe doesn't train are frozen. Activations are recomputed if the recipe
    says so. With LoRA only the adapters are trained.
    """
    freeze_all_but(model, task.recipe.parts)
    if task.recipe.lora_rank is not None:
        add_adapters(model, task.recipe)
    if task.recipe.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    module = ShardedRoot(model.train())
    optimizer = make_optimizer(module, task.recipe, sharded=accelerator.is_fsdp2)
    module, optimizer = accelerator.prepare(module, optimizer)
    return module, optimizer
