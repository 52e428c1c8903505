"""The objective of mixed preference optimisation on packs of pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.log_probs import target_log_probs
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.packs.packed_batch import PackedPairs, pack_pairs, pack_samples
from ttscaling.train.samples.pair_samples import PairSample
from ttscaling.train.settings.kinds import MpoWeights

from .losses import response_log_probs
from .mpo_loss import RewardShift, mpo_terms, pair_log_probs
from .objective import Loss, MicroBatch, blank_sample, hidden_states, means
from .references import References


@dataclass(frozen=True)
class Preferences:
    """A pack of pairs, and the number of the draw that each pair came from."""

    packed: PackedPairs
    draws: tuple[int, ...]


class Preference:
    """The MPO loss. Each pair has the weight 1, so the loss is the mean over the pairs of the global batch.

    The reward shift of a step is the mean of the rewards of all earlier steps, so it is equal for all
    micro-batches. The published code updates it with each micro-batch first (docs/decisions/0017).
    `references` must be set before the first loss; `ttscaling.train.run.reference_pass` computes them.
    """

    def __init__(self, *, image_token: int, weights: MpoWeights):
        self.image_token = image_token
        self.weights = weights
        self.shift = RewardShift()
        self.references: References | None = None
        self._rewards: list[torch.Tensor] = []

    def micro(self, pack: Sequence[DrawnSample[PairSample]]) -> MicroBatch:
        """Return the `Preferences` of a pack. Its weight is the number of pairs."""
        if pack:
            packed = pack_pairs([drawn.sample for drawn in pack], image_token=self.image_token)
        else:
            batch = pack_samples([blank_sample()], image_token=self.image_token)
            packed = PackedPairs(batch, torch.full_like(batch.ids_1T, -1), 0)
        draws = tuple(drawn.draw.number for drawn in pack)
        num_tokens = sum(drawn.num_tokens for drawn in pack)
        return MicroBatch(Preferences(packed, draws), float(len(pack)), len(pack), num_tokens)

    def loss(self, model: V2PEInternVL, micro: MicroBatch) -> Loss:
        """Return the sum of the MPO loss over the pairs, and its terms, the margin and the preferred pairs.

        Raises:
            ValueError: `references` aren't set, or a pair has no reference.
        """
        if self.references is None:
            raise ValueError(
                "the objective has no references: compute them with compute_references before the first step"
            )
        sum_R, length_R = self.log_probs(model, micro)
        chosen_P, rejected_P = (
            values.to(sum_R.device) for values in self.references.for_draws(micro.batch.draws)
        )
        log_probs = pair_log_probs(sum_R, length_R, chosen_P, rejected_P)
        terms = mpo_terms(log_probs, beta=self.weights.beta, shift=self.shift.mean)
        self._rewards += [terms.chosen_reward, terms.rejected_reward]
        loss = terms.loss(self.weights).sum()
        figures = {
            "loss": loss,
            "preference": terms.preference.sum(),
            "quality": terms.quality.sum(),
            "generation": terms.generation.sum(),
            "preferred": (terms.chosen_reward > terms.rejected_reward).float().sum(),
            "margin": (terms.chosen_reward - terms.rejected_reward).sum(),
        }
        return loss, {name: figure.detach() for name, figure in figures.items()}

    def heldout_sums(self, model: V2PEInternVL, micro: MicroBatch) -> dict[str, torch.Tensor]:
        """Return the figures of `loss`; `preferred` is the accuracy of the preferences."""
        return self.loss(model, micro)[1]

    def heldout_figures(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return the means over the pairs."""
        return means(totals)

    def log_probs(self, model: V2PEInternVL, micro: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of log-probabilities and the number of tokens of each response, (R,) each.

        The chosen response of a pair comes before its rejected one.
        """
        packed: PackedPairs = micro.batch.packed
        supervised_T = packed.response_1T[0] >= 0
        hidden_SD = hidden_states(model, packed.batch)[0, supervised_T]
        device = hidden_SD.device
        target_S, response_S = packed.batch.target_1T[0, supervised_T], packed.response_1T[0, supervised_T]
        log_prob_S = target_log_probs(model.lm_head, hidden_SD, target_S.to(device))
        return response_log_probs(log_prob_S, response_S.to(device), 2 * packed.num_pairs)

    def after_step(self, add_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Add the rewards of the step to the reward shift."""
        self.shift.update(torch.cat(self._rewards), add_up)
        self._rewards.clear()

    def state(self) -> Mapping[str, Any]:
        """Return the state of the reward shift."""
        return {"shift": self.shift.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved reward shift."""
        self.shift.load_state_dict(state["shift"])
