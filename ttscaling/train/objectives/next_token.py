"""The next-token objective of pre-training and fine-tuning."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.log_probs import target_log_probs
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.packs.packed_batch import pack_samples
from ttscaling.train.samples.sample import Sample

from .objective import Loss, MicroBatch, blank_sample, means, supervised_tokens


class NextToken:
    """The weighted cross-entropy of the next token.

    `Sample.weight_T` holds the weight of each position, which is 0 for positions that don't count.
    """

    def __init__(self, *, image_token: int):
        self.image_token = image_token

    def micro(self, pack: Sequence[DrawnSample[Sample]]) -> MicroBatch:
        """Return a `PackedBatch` of the samples. Its weight is the sum of the weights of its tokens."""
        batch = pack_samples(
            [drawn.sample for drawn in pack] or [blank_sample()], image_token=self.image_token
        )
        weight = float(batch.weight_1T.double().sum())
        return MicroBatch(batch, weight, len(pack), sum(drawn.num_tokens for drawn in pack))

    def loss(self, model: V2PEInternVL, micro: MicroBatch) -> Loss:
        """Return the weighted sum of -log p over the supervised positions."""
        hidden_SD, target_S, weight_S = supervised_tokens(model, micro.batch)
        loss = -(target_log_probs(model.lm_head, hidden_SD, target_S) * weight_S).sum()
        return loss, {"loss": loss.detach()}

    def heldout_sums(self, model: V2PEInternVL, micro: MicroBatch) -> dict[str, torch.Tensor]:
        """Return the figures of `loss`."""
        return self.loss(model, micro)[1]

    def heldout_figures(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return the weighted means."""
        return means(totals)

    def after_step(self, add_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Do nothing, because the objective has no state."""

    def state(self) -> Mapping[str, Any]:
        """Return nothing, because the objective has no state."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Do nothing, because the objective has no state."""
