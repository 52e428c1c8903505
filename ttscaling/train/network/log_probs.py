"""Compute log-probabilities from hidden states, one chunk of positions at a time.

With a vocabulary of 150,000 the logits are the largest tensor of a step. For a pack of 16K tokens they take
10 GB in fp32, and their gradients take as much again. So only the logits of one chunk exist at a time, and
the backward pass computes them again.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

CHUNK = 2048


def target_log_probs(
    head: nn.Module, hidden_SD: torch.Tensor, target_S: torch.Tensor, *, chunk: int = CHUNK
) -> torch.Tensor:
    """Return log p of each target, (S,), float32.

    Args:
        head: the output head, from hidden states to logits.
        hidden_SD: the hidden states of the supervised positions.
        target_S: the token that each position predicts.
        chunk: the number of positions whose logits exist at a time.
    """

    def of_chunk(hidden_CD: torch.Tensor, target_C: torch.Tensor) -> torch.Tensor:
        return token_log_probs(head(hidden_CD), target_C)

    if len(target_S) <= chunk:
        return of_chunk(hidden_SD, target_S)
    chunks = zip(hidden_SD.split(chunk), target_S.split(chunk), strict=True)
    return torch.cat([checkpoint(of_chunk, hidden, target, use_reentrant=False) for hidden, target in chunks])


def token_log_probs(logits_SV: torch.Tensor, target_S: torch.Tensor) -> torch.Tensor:
    """Return log p of each target, (S,), float32."""
    return -F.cross_entropy(logits_SV.float(), target_S, reduction="none")
