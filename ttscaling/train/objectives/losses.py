"""The loss terms of the objectives, as pure tensor functions."""

import torch
import torch.nn.functional as F


def weighted_cross_entropy(
    logits_SV: torch.Tensor, target_S: torch.Tensor, weight_S: torch.Tensor
) -> torch.Tensor:
    """Return the sum of weight_s * CE_s over the supervised positions.

    The caller divides it by the sum of the weights of the global batch.
    """
    return (F.cross_entropy(logits_SV.float(), target_S, reduction="none") * weight_S).sum()


def scaled_loss(loss_sum: torch.Tensor, total_weight: torch.Tensor, *, num_processes: int) -> torch.Tensor:
    """Return the part of a micro-batch in the global weighted mean, for its backward pass.

    DDP and FSDP average gradients over the processes, so the sum is multiplied by their number. Gradients of
    micro-batches add up.
    """
    return loss_sum * (num_processes / total_weight).to(loss_sum.dtype)


def response_log_probs(
    log_prob_S: torch.Tensor, response_S: torch.Tensor, num_responses: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum of log-probabilities and the number of tokens of each response, (R,) each.

    Args:
        log_prob_S: the log-probability of each predicted token.
        response_S: the index of the response that each token belongs to, 0 to num_responses - 1.
        num_responses: the number of responses R.
    """
    sum_R = log_prob_S.new_zeros(num_responses).index_add(0, response_S, log_prob_S)
    length_R = log_prob_S.new_zeros(num_responses).index_add(0, response_S, torch.ones_like(log_prob_S))
    return sum_R, length_R
