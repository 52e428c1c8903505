"""The outcome reward model of a nano run, as a ranking to compare the critic with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from ttscaling.train.nano.network.architecture import load_checkpoint
from ttscaling.train.nano.network.encoder import NanoEncoder
from ttscaling.train.nano.network.tokenizer import load_tokenizer

from .labelling import BY_OUTCOME
from .ranking import score_candidates


class OutcomeRewardModel:
    """A critic that was trained on whole solutions with the label of their answer."""

    def __init__(self, checkpoint: Path):
        torch.set_num_threads(1)  # tensors this small gain nothing from more
        self._model = load_checkpoint(checkpoint)
        self._encoder = NanoEncoder(load_tokenizer(checkpoint))

    def scores(self, question: str, image: Image.Image, solutions: Sequence[str]) -> list[float]:
        """P(the answer is right) of each solution."""
        found = score_candidates(self._model, self._encoder, question, image, solutions, scheme=BY_OUTCOME)
        return [score for (score,) in found]
