"""The interface of a training objective, and the model calls that all objectives share.

An objective turns a pack of samples into tensors with a weight, and gives their loss as a weighted sum. The
loop divides by the weight of the global batch, so the result doesn't depend on how the batch is divided into
micro-batches.

Shapes: T tokens of a pack, S supervised positions, D channels, V vocabulary, L labels, R responses, P pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.packs.packed_batch import PackedBatch
from ttscaling.train.samples.sample import Sample


@dataclass(frozen=True)
class MicroBatch:
    """A pack as tensors.

    `batch` is what the objective's `loss` reads. `weight` is the sum of the weights in its loss and figures,
    and 0 for an empty pack.
    """

    batch: Any
    weight: float
    num_samples: int
    num_tokens: int


Loss = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""The weighted sum of losses, and weighted sums of figures for the log, which have no gradients."""


class Objective(Protocol):
    """What a training run minimises."""

    def micro(self, pack: Sequence[DrawnSample[Any]]) -> MicroBatch:
        """Return a pack as tensors. An empty pack gives a micro-batch without loss."""

    def loss(self, model: V2PEInternVL, micro: MicroBatch) -> Loss:
        """Return the loss and the figures of a micro-batch, as sums that add up over the global batch."""

    def heldout_sums(self, model: V2PEInternVL, micro: MicroBatch) -> dict[str, torch.Tensor]:
        """Return what is measured on a micro-batch of held-out data, as scalar sums without gradients."""

    def heldout_figures(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return the figures of held-out data from the totals of its sums and from its `weight`."""

    def after_step(self, add_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Finish a step. It is called on every process; `add_up` sums a tensor over the processes."""

    def state(self) -> Mapping[str, Any]:
        """Return what a resumed run needs, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""


def hidden_states(model: V2PEInternVL, batch: PackedBatch) -> torch.Tensor:
    """Return the last hidden states (1, T, D) of a pack, on the model's device.

    For a pack of text only, the vision tower runs on a blank tile, and its output is multiplied by 0. There
    are two reasons. Processes that share a sharded model must call its layers in the same order. And every
    parameter needs a gradient, even if it is 0, because AdamW treats a missing gradient differently.
    """
    device = model.lm_head.weight.device
    inputs = {name: None if value is None else value.to(device) for name, value in batch.inputs.items()}
    if batch.tiles_NHWC is None:
        height, width = model.config.vision_config.image_size
        blank_1HWC = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=device)
        nothing = 0 * model.model.get_image_features(blank_1HWC).pooler_output.sum()
        inputs["inputs_embeds"] = model.get_input_embeddings()(inputs.pop("input_ids")) + nothing
    return model.hidden_states(**inputs)


def supervised_tokens(
    model: V2PEInternVL, batch: PackedBatch
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return hidden states (S, D), targets (S,) and weights (S,) of the supervised positions.

    The caller computes logits for these positions only.
    """
    supervised_T = batch.weight_1T[0] > 0
    hidden_SD = hidden_states(model, batch)[0, supervised_T]
    target_S, weight_S = batch.target_1T[0, supervised_T], batch.weight_1T[0, supervised_T]
    return hidden_SD, target_S.to(hidden_SD.device), weight_S.to(hidden_SD.device)


def means(totals: Mapping[str, float]) -> dict[str, float]:
    """Return totals other than `weight`, divided by `weight`, or 0 if nothing has a weight."""
    weight = totals["weight"]
    return {name: total / weight if weight else 0.0 for name, total in totals.items() if name != "weight"}


def blank_sample() -> Sample:
    """Return a sample of one unsupervised text token, for a process whose data have ended."""
    zero_T = torch.zeros(1, dtype=torch.int64).numpy()
    return Sample(zero_T, zero_T, zero_T.astype("float32"), deltas=(), tiles_NHWC=None)
