"""What a run minimises: one object for each kind of training.

An objective makes packs of samples tensors, says what they weigh, and gives their loss as a weighted sum. The
loop divides by the weight of the global batch, so a result doesn't depend on how the batch is cut.

Shapes: T tokens of a pack, S supervised positions, D channels, V vocabulary, L labels, R responses, P pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch

from .batch import Sample
from .data.packed_batch import PackedBatch, PackedPairs, pack_pairs, pack_samples
from .data.packing import Packable
from .data.pair_samples import PairSample
from .data.references import References
from .data.stream import Drawn
from .kinds import MpoWeights
from .losses import response_log_probs, weighted_cross_entropy
from .model import V2PEInternVL
from .output_head import target_log_probs
from .preference import RewardShift, mpo_terms, pair_log_probs

P = TypeVar("P", bound=Packable)
B = TypeVar("B")


@dataclass(frozen=True)
class Micro(Generic[B]):
    """A pack as tensors. `weight` is what its loss and figures are sums over; 0 for one that fills a gap."""

    batch: B
    weight: float
    num_samples: int
    num_tokens: int


Loss = tuple[torch.Tensor, dict[str, torch.Tensor]]
"""The weighted sum of losses, and weighted sums of figures to show, without gradients."""


class Objective(Protocol[P, B]):
    """One kind of training."""

    def micro(self, pack: Sequence[Drawn[P]]) -> Micro[B]:
        """A pack as tensors; of an empty one, a micro-batch without any loss."""

    def loss(self, model: V2PEInternVL, micro: Micro[B]) -> Loss:
        """What a micro-batch adds to the global batch."""

    def after_step(self, add_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Called on every process after each step; `add_up` sums a tensor over processes."""

    def state(self) -> Mapping[str, Any]:
        """What a resumed run needs, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""


class NextToken:
    """Cross-entropy of the next token: native pre-training and fine-tuning.

    The samples' own weights decide which positions count and how much (`Sample.weight_T`).
    """

    def __init__(self, *, image_token: int):
        self.image_token = image_token

    def micro(self, pack: Sequence[Drawn[Sample]]) -> Micro[PackedBatch]:
        batch = pack_samples([drawn.sample for drawn in pack] or [_nothing()], image_token=self.image_token)
        weight = float(batch.weight_1T.double().sum())
        return Micro(batch, weight, len(pack), sum(drawn.num_tokens for drawn in pack))

    def loss(self, model: V2PEInternVL, micro: Micro[PackedBatch]) -> Loss:
        hidden_SD, target_S, weight_S = _supervised(model, micro.batch)
        loss = -(target_log_probs(model.lm_head, hidden_SD, target_S) * weight_S).sum()
        return loss, {"loss": loss.detach()}

    def after_step(self, add_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Nothing to do."""

    def state(self) -> Mapping[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


class Judgement(NextToken):
    """A critic's labels, one at each slot, against each other only.

    The logits are made from the labels' rows of the output head, as the read-out does (softmax over `+` and
    `-`): the probability of all other tokens is left as it is.
    """

    def __init__(self, *, image_token: int, labels: Sequence[int]):
        super().__init__(image_token=image_token)
        self.labels = tuple(labels)

    def loss(self, model: V2PEInternVL, micro: Micro[PackedBatch]) -> Loss:
        hidden_SD, target_S, weight_S = _supervised(model, micro.batch)
        label_L = torch.tensor(self.labels, device=target_S.device)
        logits_SL = hidden_SD @ model.lm_head.weight[label_L].to(hidden_SD.dtype).T
        target_S = (target_S[:, None] == label_L).int().argmax(dim=1)
        loss = weighted_cross_entropy(logits_SL, target_S, weight_S)
        right = ((logits_SL.argmax(dim=1) == target_S) * weight_S).sum()
        return loss, {"loss": loss.detach(), "right": right}


@dataclass(frozen=True)
class Preferences:
    """A pack of pairs, and which draw each was."""

    packed: PackedPairs
    draws: tuple[int, ...]


class Preference:
    """MPO. A pair weighs 1, so the loss is the mean over the pairs of the global batch.

    The reward shift of a step is the mean of the rewards of all steps before it, and so the same for every
    micro-batch; the published code updates it with each micro-batch first (docs/decisions/0017).
    `references` are set once they are computed (`ttscaling.train.references`).
    """

    def __init__(self, *, image_token: int, weights: MpoWeights):
        self.image_token = image_token
        self.weights = weights
        self.shift = RewardShift()
        self.references: References | None = None
        self._rewards: list[torch.Tensor] = []

    def micro(self, pack: Sequence[Drawn[PairSample]]) -> Micro[Preferences]:
        if pack:
            packed = pack_pairs([drawn.sample for drawn in pack], image_token=self.image_token)
        else:
            batch = pack_samples([_nothing()], image_token=self.image_token)
            packed = PackedPairs(batch, torch.full_like(batch.ids_1T, -1), 0)
        draws = tuple(drawn.draw.number for drawn in pack)
        num_tokens = sum(drawn.num_tokens for drawn in pack)
        return Micro(Preferences(packed, draws), float(len(pack)), len(pack), num_tokens)

    def loss(self, model: V2PEInternVL, micro: Micro[Preferences]) -> Loss:
        if self.references is None:
            raise ValueError("the reference's log-probabilities come first: compute and set them")
        sum_R, length_R = self.log_probs(model, micro)
        chosen_P, rejected_P = (values.to(sum_R.device) for values in self.references.of(micro.batch.draws))
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

    def log_probs(self, model: V2PEInternVL, micro: Micro[Preferences]) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums of log-probabilities and numbers of tokens of the responses, (R,) each, chosen ones first."""
        packed = micro.batch.packed
        at_T = packed.response_1T[0] >= 0
        hidden_SD = hidden_states(model, packed.batch)[0, at_T]
        device = hidden_SD.device
        target_S, response_S = packed.batch.target_1T[0, at_T], packed.response_1T[0, at_T]
        log_prob_S = target_log_probs(model.lm_head, hidden_SD, target_S.to(device))
        return response_log_probs(log_prob_S, response_S.to(device), 2 * packed.num_pairs)

    def after_step(self, add_up: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Takes the step's rewards into the shift."""
        self.shift.update(torch.cat(self._rewards), add_up)
        self._rewards.clear()

    def state(self) -> Mapping[str, Any]:
        return {"shift": self.shift.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.shift.load_state_dict(state["shift"])


def hidden_states(model: V2PEInternVL, batch: PackedBatch) -> torch.Tensor:
    """Last hidden states (1, T, D) of a pack, on the model's device.

    The vision tower runs for a text-only pack too, on a blank tile that counts for nothing, and at its place
    in front of the language model: processes that share a sharded model must call its layers in one order.
    Besides, each parameter gets a gradient, if of 0, whatever the pack.
    """
    device = model.lm_head.weight.device
    inputs = {name: None if value is None else value.to(device) for name, value in batch.inputs.items()}
    if batch.tiles_NHWC is None:
        height, width = model.config.vision_config.image_size
        blank_1HWC = torch.zeros((1, height, width, 3), dtype=torch.uint8, device=device)
        nothing = 0 * model.model.get_image_features(blank_1HWC).pooler_output.sum()
        inputs["inputs_embeds"] = model.get_input_embeddings()(inputs.pop("input_ids")) + nothing
    return model.hidden_states(**inputs)


def _supervised(model: V2PEInternVL, batch: PackedBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states (S, D), targets (S,), weights (S,) where something is asked: no other logits are made."""
    at_T = batch.weight_1T[0] > 0
    hidden_SD = hidden_states(model, batch)[0, at_T]
    device = hidden_SD.device
    return hidden_SD, batch.target_1T[0, at_T].to(device), batch.weight_1T[0, at_T].to(device)


def _nothing() -> Sample:
    """A token of text that asks for nothing: what a process computes once its data have ended."""
    zero_T = torch.zeros(1, dtype=torch.int64).numpy()
    return Sample(zero_T, zero_T, zero_T.astype("float32"), deltas=(), tiles_NHWC=None)
