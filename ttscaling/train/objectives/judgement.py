"""The objective of a critic, a cross-entropy of its labels, among the labels or over the full vocabulary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ttscaling.reports.step_f1 import f1_of
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.log_probs import target_log_probs
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.packs.packed_batch import PackedBatch, pack_samples
from ttscaling.train.samples.critic_samples import NO_LABEL

from .losses import weighted_cross_entropy
from .next_token import NextToken
from .objective import Loss, MicroBatch, blank_sample, hidden_states, means

_COUNTS = ("right_called_right", "right_called_wrong", "wrong_called_wrong", "wrong_called_right")
"""The names of the counts that `f1_of` needs, in its order."""


@dataclass(frozen=True)
class PackedJudgements:
    """A pack of critics' conversations.

    `slot_1T` is bool and marks the positions at which a label is predicted. `step_label_1T` is int64 and
    holds the token of the label at each token of a step, and NO_LABEL elsewhere.
    """

    packed: PackedBatch
    slot_1T: torch.Tensor
    step_label_1T: torch.Tensor


class Judgement(NextToken):
    """The weighted cross-entropy of a critic's label at each slot, and of other supervised tokens.

    By default it is among the labels only. The logits come from the rows of the labels in the output head, as
    in the read-out, which takes the softmax over `+` and `-`, and other tokens keep their logits. With `full`
    it is over the full vocabulary, as published, so the labels become the most probable tokens of all. The
    other supervised tokens are the text of steps (`critic_sample`), whose loss is over the vocabulary always.

    Args:
        image_token: the id of the context token of images.
        labels: the token ids of the labels.
        full: take the cross-entropy of a label over the full vocabulary.
        text: add the loss of the other supervised tokens.
        early_weight: weight of predicting the labels at the tokens of their steps too, from the step so far,
            beside 1 for the labels at the slots. The verifier of arXiv 2110.14168 is trained so.
    """

    def __init__(
        self,
        *,
        image_token: int,
        labels: Sequence[int],
        full: bool = False,
        text: bool = False,
        early_weight: float = 0.0,
    ):
        super().__init__(image_token=image_token)
        self.labels = tuple(labels)
        self.full = full
        self.text = text
        self.early_weight = early_weight

    def micro(self, pack: Sequence[DrawnSample[Any]]) -> MicroBatch:
        """Return the `PackedJudgements` of `CriticSample`s. Its weight is the sum of the labels' weights."""
        samples = [drawn.sample for drawn in pack]
        packed = pack_samples(samples or [blank_sample()], image_token=self.image_token)
        slot_1T = torch.zeros_like(packed.ids_1T, dtype=torch.bool)
        step_label_1T = torch.full_like(packed.ids_1T, NO_LABEL)
        if samples:
            slot_1T[0] = torch.from_numpy(np.concatenate([sample.slot_T for sample in samples]))
            step_label_1T[0] = torch.from_numpy(np.concatenate([sample.step_label_T for sample in samples]))
        weight = float(packed.weight_1T[slot_1T].double().sum())
        num_tokens = sum(drawn.num_tokens for drawn in pack)
        batch = PackedJudgements(packed, slot_1T, step_label_1T)
        return MicroBatch(batch, weight, len(pack), num_tokens)

    def loss(self, model: V2PEInternVL, micro: MicroBatch) -> Loss:
        """Return the weighted sum of the cross-entropy, and of the slots whose best label is right."""
        loss, figures, _ = self._loss_and_counts(model, micro)
        return loss, figures

    def heldout_sums(self, model: V2PEInternVL, micro: MicroBatch) -> dict[str, torch.Tensor]:
        """Return the figures of `loss`, and how many right and wrong steps are called right and wrong."""
        _, figures, counts_4 = self._loss_and_counts(model, micro)
        return {**figures, **dict(zip(_COUNTS, counts_4, strict=True))}

    def heldout_figures(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return the weighted means, and VisualProcessBench's F1 of the steps.

        A step is called right if `+` is more probable than `-`. `f1` is the mean of the other two.
        """
        f1_wrong, f1_right, f1 = f1_of(np.array([totals[name] for name in _COUNTS])).tolist()
        others = {name: total for name, total in totals.items() if name not in _COUNTS}
        return {**means(others), "f1": f1, "f1_right": f1_right, "f1_wrong": f1_wrong}

    def _loss_and_counts(
        self, model: V2PEInternVL, micro: MicroBatch
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Return the loss, its figures, and the counts of `_COUNTS`."""
        batch: PackedJudgements = micro.batch
        hidden_TD = hidden_states(model, batch.packed)[0]
        supervised_T = batch.packed.weight_1T[0] > 0
        hidden_SD = hidden_TD[supervised_T]
        target_S, weight_S, slot_S = (
            values_1T[0, supervised_T].to(hidden_TD.device)
            for values_1T in (batch.packed.target_1T, batch.packed.weight_1T, batch.slot_1T)
        )
        logits_JL, target_J = self._among_labels(model, hidden_SD[slot_S], target_S[slot_S])
        right = ((logits_JL.argmax(dim=1) == target_J) * weight_S[slot_S]).sum()

        def over_vocabulary(chosen_S: torch.Tensor) -> torch.Tensor:
            log_prob_S = target_log_probs(model.lm_head, hidden_SD[chosen_S], target_S[chosen_S])
            return -(log_prob_S * weight_S[chosen_S]).sum()

        if self.full:
            loss = over_vocabulary(slot_S)
        else:
            loss = weighted_cross_entropy(logits_JL, target_J, weight_S[slot_S])
        figures = {"right": right}
        if self.text:
            figures["text"] = over_vocabulary(~slot_S)
            loss = loss + figures["text"]
        if self.early_weight:
            step_T = batch.step_label_1T[0] != NO_LABEL
            labels_S = batch.step_label_1T[0, step_T].to(hidden_TD.device)
            logits_SL, early_S = self._among_labels(model, hidden_TD[step_T], labels_S)
            # Their mean over the pack, times the weight of the pack.
            share = self.early_weight * micro.weight / max(len(early_S), 1)
            figures["early"] = share * F.cross_entropy(logits_SL.float(), early_S, reduction="sum")
            loss = loss + figures["early"]
        called_J = logits_JL[:, 0] > logits_JL[:, 1]
        plus_J, minus_J = target_J == 0, target_J == 1  # `=`, if there is one, doesn't count.
        cells = (plus_J & called_J, plus_J & ~called_J, minus_J & ~called_J, minus_J & called_J)
        counts_4 = torch.stack([cell.sum() for cell in cells])
        return loss, {name: figure.detach() for name, figure in {"loss": loss, **figures}.items()}, counts_4

    def _among_labels(
        self, model: V2PEInternVL, hidden_SD: torch.Tensor, target_S: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of the labels (S, L), and the index of each target token among them (S,)."""
        label_L = torch.tensor(self.labels, device=hidden_SD.device)
        logits_SL = hidden_SD @ model.lm_head.weight[label_L].to(hidden_SD.dtype).T
        return logits_SL, (target_S[:, None] == label_L).int().argmax(dim=1)
