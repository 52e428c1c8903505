"""The objective of a critic, a cross-entropy of its labels, among the labels or over the full vocabulary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ttscaling.reports.step_f1 import f1_of
from ttscaling.train.network.internvl import V2PEInternVL
from ttscaling.train.network.log_probs import target_log_probs
from ttscaling.train.packs.pack_stream import DrawnSample
from ttscaling.train.packs.packed_batch import PackedBatch, pack_samples

from .losses import weighted_cross_entropy
from .next_token import NextToken
from .objective import Loss, MicroBatch, blank_sample, means, supervised_tokens

_COUNTS = ("right_called_right", "right_called_wrong", "wrong_called_wrong", "wrong_called_right")
"""The names of the counts that `f1_of` needs, in its order."""


@dataclass(frozen=True)
class PackedJudgements:
    """A pack of critics' conversations, and the positions at which a label is predicted, bool (1, T)."""

    packed: PackedBatch
    slot_1T: torch.Tensor


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
    """

    def __init__(self, *, image_token: int, labels: Sequence[int], full: bool = False, text: bool = False):
        super().__init__(image_token=image_token)
        self.labels = tuple(labels)
        self.full = full
        self.text = text

    def micro(self, pack: Sequence[DrawnSample[Any]]) -> MicroBatch:
        """Return the `PackedJudgements` of `CriticSample`s. Its weight is the sum of the labels' weights."""
        samples = [drawn.sample for drawn in pack]
        packed = pack_samples(samples or [blank_sample()], image_token=self.image_token)
        slot_T = np.concatenate([sample.slot_T for sample in samples]) if samples else np.zeros(1, bool)
        slot_1T = torch.from_numpy(slot_T)[None]
        weight = float(packed.weight_1T[slot_1T].double().sum())
        num_tokens = sum(drawn.num_tokens for drawn in pack)
        return MicroBatch(PackedJudgements(packed, slot_1T), weight, len(pack), num_tokens)

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
        hidden_SD, target_S, weight_S = supervised_tokens(model, batch.packed)
        slot_S = batch.slot_1T[batch.packed.weight_1T > 0].to(hidden_SD.device)
        label_L = torch.tensor(self.labels, device=target_S.device)
        logits_JL = hidden_SD[slot_S] @ model.lm_head.weight[label_L].to(hidden_SD.dtype).T
        target_J = (target_S[slot_S, None] == label_L).int().argmax(dim=1)
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
        called_J = logits_JL[:, 0] > logits_JL[:, 1]
        plus_J, minus_J = target_J == 0, target_J == 1  # `=`, if there is one, doesn't count.
        cells = (plus_J & called_J, plus_J & ~called_J, minus_J & ~called_J, minus_J & called_J)
        counts_4 = torch.stack([cell.sum() for cell in cells])
        return loss, {name: figure.detach() for name, figure in {"loss": loss, **figures}.items()}, counts_4
