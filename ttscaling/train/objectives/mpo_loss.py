"""The three loss terms of mixed preference optimisation: preference, quality and generation.

Preference is DPO, and quality is BCO with a reward shift. Sources: InternVL3 (arXiv 2504.10479) eq. 9-13, and
for the weights OpenGVLab/InternVL `shell/internvl3.0/mpo`. The reward shift is that of TRL's `bco_pair` up to
0.16 and of OpenGVLab's `trainer_dpo.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ttscaling.train.settings.kinds import MpoWeights


@dataclass(frozen=True)
class PairLogProbs:
    """The log-probabilities of P pairs of responses, summed over the tokens of a response, (P,) each.

    `chosen_length` is the number of tokens of the chosen responses, with their end tokens.
    """

    chosen: torch.Tensor
    rejected: torch.Tensor
    reference_chosen: torch.Tensor
    reference_rejected: torch.Tensor
    chosen_length: torch.Tensor


@dataclass(frozen=True)
class MpoTerms:
    """The three terms and the rewards of each pair, (P,) each. Only the terms have gradients."""

    preference: torch.Tensor
    quality: torch.Tensor
    generation: torch.Tensor
    chosen_reward: torch.Tensor
    rejected_reward: torch.Tensor

    def loss(self, weights: MpoWeights) -> torch.Tensor:
        """Return the weighted sum of the terms, (P,). The caller averages over the global batch."""
        return (
            weights.preference * self.preference
            + weights.quality * self.quality
            + weights.generation * self.generation
        )


class RewardShift:
    """The reward shift delta of BCO, which is the mean of all rewards since training began.

    The rewards of chosen and of rejected responses both count. The shift is part of the training state, so
    that a resumed run continues with the right value.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0.0

    @property
    def mean(self) -> float:
        """Return the shift, or 0 before the first reward."""
        return self.total / self.count if self.count else 0.0

    def update(
        self, reward_R: torch.Tensor, sum_over_processes: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """Add the rewards of a batch, on every process at once.

        Args:
            reward_R: the rewards of this process, which may be none.
            sum_over_processes: sums a tensor over the processes, so it is the identity for one process.
        """
        reward_R = reward_R.detach().double()
        total_and_count = torch.stack([reward_R.sum(), torch.full_like(reward_R.sum(), len(reward_R))])
        total, count = sum_over_processes(total_and_count).tolist()
        self.total += total
        self.count += count

    def state_dict(self) -> dict[str, float]:
        """Return the state for a checkpoint."""
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from the state of a checkpoint. Raises KeyError if it lacks a value."""
        self.total, self.count = state["total"], state["count"]


def pair_log_probs(
    sum_R: torch.Tensor,
    length_R: torch.Tensor,
    reference_chosen_P: torch.Tensor,
    reference_rejected_P: torch.Tensor,
) -> PairLogProbs:
    """Return the log-probabilities of a pack of pairs.

    Args:
        sum_R: sums that `response_log_probs` returned, where chosen and rejected responses alternate.
        length_R: lengths that it returned.
        reference_chosen_P: the reference's log-probabilities of the chosen responses.
        reference_rejected_P: the reference's log-probabilities of the rejected responses.
    """
    return PairLogProbs(sum_R[0::2], sum_R[1::2], reference_chosen_P, reference_rejected_P, length_R[0::2])


def rewards(log_probs: PairLogProbs, beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return beta x log(pi / pi_0) of the chosen and of the rejected responses, (P,) each."""
    return (
        beta * (log_probs.chosen - log_probs.reference_chosen),
        beta * (log_probs.rejected - log_probs.reference_rejected),
    )


def mpo_terms(log_probs: PairLogProbs, *, beta: float, shift: float) -> MpoTerms:
    """Return the three terms of each pair.

    Args:
        log_probs: the log-probabilities under the policy and the reference.
        beta: the beta of DPO, which also scales the rewards.
        shift: the reward shift, `RewardShift.mean`. The published code updates it with this batch first, and
            `Preference` only with the steps before (docs/decisions/0017).
    """
    chosen_P, rejected_P = rewards(log_probs, beta)
    return MpoTerms(
        preference=-F.logsigmoid(chosen_P - rejected_P),
        quality=-F.logsigmoid(chosen_P - shift) - F.logsigmoid(-(rejected_P - shift)),
        generation=-log_probs.chosen / log_probs.chosen_length,
        chosen_reward=chosen_P.detach(),
        rejected_reward=rejected_P.detach(),
    )
