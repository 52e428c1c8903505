"""From hidden states to log-probabilities, a chunk of positions at a time.

A vocabulary of 150,000 makes logits the largest tensor of a step: in a pack of 16K tokens 10 GB as fp32, and
as much again of gradients. Here those of a chunk are there at a time, made once more in the backward pass.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

CHUNK = 2048


def target_log_probs(
    head: nn.Module, hidden_SD: torch.Tensor, target_S: torch.Tensor, *, chunk: int = CHUNK
) -> torch.Tensor:
    """log p of each target, (S,), float32.

    Args:
        head: from hidden states to logits.
        hidden_SD: hidden states of the positions that predict something.
        target_S: which token each is to predict.
        chunk: of how many positions there are logits at a time.
    """

    def of_chunk(hidden_CD: torch.Tensor, target_C: torch.Tensor) -> torch.Tensor:
        return token_log_probs(head(hidden_CD), target_C)

    if len(target_S) <= chunk:
        return of_chunk(hidden_SD, target_S)
    parts = zip(hidden_SD.split(chunk), target_S.split(chunk), strict=True)
    return torch.cat([checkpoint(of_chunk, hidden, target, use_reentrant=False) for hidden, target in parts])


def token_log_probs(logits_SV: torch.Tensor, target_S: torch.Tensor) -> torch.Tensor:
    """log p of each target, (S,), float32."""
    return -F.cross_entropy(logits_SV.float(), target_S, reduction="none")
