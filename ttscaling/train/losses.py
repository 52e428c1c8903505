"""Loss terms as pure tensor functions."""

import torch
import torch.nn.functional as F


def square_average_weight(num_supervised: int) -> float:
    """Weight of each supervised token of a sample that has l of them: 1 / sqrt(l) (InternVL3 section 2.2)."""
    return max(num_supervised, 1) ** -0.5


def weighted_cross_entropy(
    logits_SV: torch.Tensor, target_S: torch.Tensor, weight_S: torch.Tensor
) -> torch.Tensor:
    """sum_s weight_s * CE_s over supervised positions; the caller divides by the global sum of weights."""
    return (F.cross_entropy(logits_SV.float(), target_S, reduction="none") * weight_S).sum()
