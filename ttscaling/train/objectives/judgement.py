"""The objective of a critic, a cross-entropy among its labels."""

from collections.abc import Sequence

import torch

from ttscaling.train.network.internvl import V2PEInternVL

from .losses import weighted_cross_entropy
from .next_token import NextToken
from .objective import Loss, MicroBatch, supervised_tokens


class Judgement(NextToken):
    """The weighted cross-entropy of a critic's label at each slot, among the labels only.

    The logits come from the rows of the labels in the output head, as in the read-out, which takes the
    softmax over `+` and `-`. The loss doesn't depend on the logits of other tokens. `labels` holds the token
    ids of the labels.
    """

    def __init__(self, *, image_token: int, labels: Sequence[int]):
        super().__init__(image_token=image_token)
        self.labels = tuple(labels)

    def loss(self, model: V2PEInternVL, micro: MicroBatch) -> Loss:
        """Return the weighted sum of the cross-entropy, and of the slots whose best label is right."""
        hidden_SD, target_S, weight_S = supervised_tokens(model, micro.batch)
        label_L = torch.tensor(self.labels, device=target_S.device)
        logits_SL = hidden_SD @ model.lm_head.weight[label_L].to(hidden_SD.dtype).T
        target_S = (target_S[:, None] == label_L).int().argmax(dim=1)
        loss = weighted_cross_entropy(logits_SL, target_S, weight_S)
        right = ((logits_SL.argmax(dim=1) == target_S) * weight_S).sum()
        return loss, {"loss": loss.detach(), "right": right}
