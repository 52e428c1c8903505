"""What a run minimises: one object for each kind of training.

An objective makes packs of samples tensors, says what they weigh, and gives their loss as a weighted sum. The
loop divides by the weight of the global batch, so a result doesn't depend on how the batch is cut.

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
    """A pack as tensors. `weight` is what its loss and figures are sums over; 0 for one that fills a gap."""

    batch: Any
    weight: float
    num_samples: int
    num_tokens: int


Loss = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""The weighted sum of losses, and weighted sums of figures to show, without gradients."""


class Objective(Protocol):
    """One kind of training."""

    def micro(self, pack: Sequence[DrawnSample[Any]]) -> MicroBatch:
        """A pack as tensors; of an empty one, a micro-batch without any loss."""

    def loss(self, model: V2PEInternVL, micro: MicroBatch) -> Loss:
        """What a micro-batch adds to the global batch."""

    def after_step(self, add_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Called on every process after each step; `add_up` sums a tensor over processes."""

    def state(self) -> Mapping[str, Any]:
        """What a resumed run needs, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""


def hidden_states(model: V2PEInternVL, batch: PackedBatch) -> torch.Tensor:
    """Last hidden states (1, T, D) of a pack, on the model's device.

    The vision tower runs for a text-only pack too, on a blank tile that counts for nothing, and at its place
    in front of the language model: processes that share a sharded model must call its layers in one order.
    Besides, each parameter gets a gradient, if of 0, whatever the pack.
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
    """Hidden states (S, D), targets (S,), weights (S,) where something is asked: no other logits are made."""
    at_T = batch.weight_1T[0] > 0
    hidden_SD = hidden_states(model, batch)[0, at_T]
    device = hidden_SD.device
    return hidden_SD, batch.target_1T[0, at_T].to(device), batch.weight_1T[0, at_T].to(device)


def blank_sample() -> Sample:
    """A token of text that asks for nothing: what a process computes once its data have ended."""
    zero_T = torch.zeros(1, dtype=torch.int64).numpy()
    return Sample(zero_T, zero_T, zero_T.astype("float32"), deltas=(), tiles_NHWC=None)
