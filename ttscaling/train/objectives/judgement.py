"""TODO: what this file is about."""

from collections.abc import Sequence

import torch

from ttscaling.train.network.internvl import V2PEInternVL

from .losses import weighted_cross_entropy
from .next_token import NextToken
from .objective import Loss, MicroBatch, supervised_tokens


class Judgement(NextToken):
    """A critic's labels, one at each slot, against each other only.

    The logits are made from the labels' rows of the output head, as the read-out does (softmax over `+` and
    `-`): the probability of all other tokens is left as it is.
    """

    def __init__(self, *, image_token: int, labels: Sequence[int]):
        super().__init__(image_token=image_token)
        self.labels = tuple(labels)

    def loss(self, model: V2PEInternVL, micro: MicroBatch) -> Loss:
        hidden_SD, target_S, weight_S = supervised_tokens(model, micro.batch)
        label_L = torch.tensor(self.labels, device=target_S.device)
        logits_SL = hidden_SD @ model.lm_head.weight[label_L].to(hidden_SD.dtype).T
        target_S = (target_S[:, None] == label_L).int().argmax(dim=1)
        loss = weighted_cross_entropy(logits_SL, target_S, weight_S)
        right = ((logits_SL.argmax(dim=1) == target_S) * weight_S).sum()
        return loss, {"loss": loss.detach(), "right": right}
