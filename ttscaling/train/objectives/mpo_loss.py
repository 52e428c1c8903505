"""Mixed preference optimisation: preference (DPO), quality (BCO with a reward shift) and generation loss.

Sources: InternVL3 (arXiv 2504.10479) eq. 9-13; weights from OpenGVLab/InternVL `shell/internvl3.0/mpo`; the
reward shift as TRL's `bco_pair` had it up to 0.16 and OpenGVLab's `trainer_dpo.py` uses it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ttscaling.train.settings.kinds import MpoWeights


@dataclass(frozen=True)
class PairLogProbs:
    """Log-probabilities of P pairs of responses, each summed over the response's tokens, all (P,).

    `chosen_length` is the number of tokens of the chosen responses, their ends included.
    """

    chosen: torch.Tensor
    rejected: torch.Tensor
    reference_chosen: torch.Tensor
    reference_rejected: torch.Tensor
    chosen_length: torch.Tensor


@dataclass(frozen=True)
class MpoTerms:
    """The three terms and the rewards of each pair, all (P,); only the terms have a gradient."""

    preference: torch.Tensor
    quality: torch.Tensor
    generation: torch.Tensor
    chosen_reward: torch.Tensor
    rejected_reward: torch.Tensor

    def loss(self, weights: MpoWeights) -> torch.Tensor:
        """The weighted sum, (P,): the caller averages over the pairs of the global batch."""
        return (
            weights.preference * self.preference
            + weights.quality * self.quality
            + weights.generation * self.generation
        )


class RewardShift:
    """BCO's delta: the mean of every reward since training began, chosen and rejected alike.

    Part of the training state: a resumed run without it would start from a wrong shift.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0.0

    @property
    def mean(self) -> float:
        """0 before the first reward."""
        return self.total / self.count if self.count else 0.0

    def update(
        self, reward_R: torch.Tensor, sum_over_processes: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """Take in the rewards of a batch, on every process at once.

        Args:
            reward_R: this process's rewards; may be empty.
            sum_over_processes: an all-reduce that adds up; the identity for one process.
        """
        reward_R = reward_R.detach().double()
        counted = torch.stack([reward_R.sum(), torch.full_like(reward_R.sum(), len(reward_R))])
        total, count = sum_over_processes(counted).tolist()
        self.total += total
        self.count += count

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a checkpoint. Raises KeyError for another object's state."""
        self.total, self.count = state["total"], state["count"]


def pair_log_probs(
    sum_R: torch.Tensor,
    length_R: torch.Tensor,
    reference_chosen_P: torch.Tensor,
    reference_rejected_P: torch.Tensor,
) -> PairLogProbs:
    """What `response_log_probs` gave for a pack of pairs (chosen, rejected, ..), with the reference's."""
    return PairLogProbs(sum_R[0::2], sum_R[1::2], reference_chosen_P, reference_rejected_P, length_R[0::2])


def rewards(log_probs: PairLogProbs, beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """beta x log(pi / pi_0) of the chosen and of the rejected responses, (P,) each."""
    return (
        beta * (log_probs.chosen - log_probs.reference_chosen),
        beta * (log_probs.rejected - log_probs.reference_rejected),
    )


def mpo_terms(log_probs: PairLogProbs, *, beta: float, shift: float) -> MpoTerms:
    """The three terms of each pair.

    Args:
        log_probs: of policy and reference.
        beta: DPO's.
        shift: the rewards' running mean, `RewardShift.mean`, updated with this batch first, as published.
    """
    chosen_P, rejected_P = rewards(log_probs, beta)
    return MpoTerms(
        preference=-F.logsigmoid(chosen_P - rejected_P),
        quality=-F.logsigmoid(chosen_P - shift) - F.logsigmoid(-(rejected_P - shift)),
        generation=-log_probs.chosen / log_probs.chosen_length,
        chosen_reward=chosen_P.detach(),
        rejected_reward=rejected_P.detach(),
    )
