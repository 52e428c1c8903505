"""Loss terms as pure tensor functions."""

import torch
import torch.nn.functional as F


def weighted_cross_entropy(
    logits_SV: torch.Tensor, target_S: torch.Tensor, weight_S: torch.Tensor
) -> torch.Tensor:
    """sum_s weight_s * CE_s over supervised positions; the caller divides by the global sum of weights."""
    return (F.cross_entropy(logits_SV.float(), target_S, reduction="none") * weight_S).sum()


def scaled_loss(loss_sum: torch.Tensor, total_weight: torch.Tensor, *, num_processes: int) -> torch.Tensor:
    """What a micro-batch contributes to the global weighted mean, to be called `backward` on.

    Gradients are averaged over processes (DDP, FSDP), hence the factor; over micro-batches they add up.
    """
    return loss_sum * (num_processes / total_weight).to(loss_sum.dtype)


def response_log_probs(
    log_prob_S: torch.Tensor, response_S: torch.Tensor, num_responses: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of log-probabilities and numbers of tokens of each response, both (R,).

    Args:
        log_prob_S: of each predicted token.
        response_S: which response a token belongs to, 0 to num_responses - 1.
        num_responses: R.
    """
    sum_R = log_prob_S.new_zeros(num_responses).index_add(0, response_S, log_prob_S)
    length_R = log_prob_S.new_zeros(num_responses).index_add(0, response_S, torch.ones_like(log_prob_S))
    return sum_R, length_R
